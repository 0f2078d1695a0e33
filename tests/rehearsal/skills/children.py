from muster.skills import SkillContext, skill


def write(context: SkillContext, key: str, amount: int) -> None:
    with context.database.connection() as connection:
        connection.execute("INSERT INTO money VALUES (%s, %s) ON CONFLICT DO NOTHING", (key, amount))


@skill("bank.prepare")
def prepare(context: SkillContext) -> None:
    """The table."""
    with context.database.connection() as connection:
        connection.execute("CREATE TABLE money (key text PRIMARY KEY, amount int)")


@skill("bank.pay")
def pay(amount: int, context: SkillContext) -> str:
    """Pays."""
    write(context, context.key, amount)
    return "paid"


@skill("bank.refund")
def refund(amount: int, context: SkillContext) -> str:
    """Gives back what was paid, if it was."""
    with context.database.connection() as connection:
        paid = connection.execute("SELECT 1 FROM money WHERE key = %s", (context.undoes,)).fetchone()
    if paid:
        write(context, context.key, -amount)
    return "given back"
