from muster.skills import SkillContext, skill


@skill("files.write")
def write(text: str, context: SkillContext) -> str:
    """Keep a text in the run's own folder."""
    path = context.workspace / "letter.txt"
    path.write_text(text)
    return str(path)


@skill("files.read")
def read(uri: str, context: SkillContext) -> str:
    """Read a file, in a thread."""
    return context.documents.read(uri).decode()


@skill("files.aread", lane="async")
async def aread(uri: str, context: SkillContext) -> str:
    """Read a file, in a coroutine."""
    return context.documents.read(uri).decode()
