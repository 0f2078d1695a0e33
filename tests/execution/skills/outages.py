from muster.skills import SkillContext, skill


@skill("disk.write")
def write(size: int, context: SkillContext) -> int:
    """Write a file into the run's folder."""
    (context.workspace / "file").write_bytes(b"x" * size)
    return size


@skill("disk.once")
def once(context: SkillContext) -> str:
    """An effect outside."""
    with context.database.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS performed (key text)")
        connection.execute("INSERT INTO performed VALUES (%s)", (context.key,))
    return context.key
