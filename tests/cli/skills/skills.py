"""A site's own skills."""

from decimal import Decimal

from muster.skills import SkillContext, skill


@skill("shop.add_tax")
def add_tax(net: Decimal, rate: Decimal = Decimal("0.19")) -> Decimal:
    """Add value-added tax to a net amount."""
    return net * (1 + rate)


@skill("shop.keep", lane="async")
async def keep(text: str, context: SkillContext) -> str:
    """Keep a text in the workspace."""
    (context.workspace / "kept.txt").write_text(text)
    with context.database.connection() as connection:
        return str(connection.execute("SELECT 40 + 2").fetchone()[0])
