from pathlib import Path

from muster.errors import PermanentError
from muster.skills import SkillContext, skill


@skill("bank.pay", lane="async")
async def pay(name: str, folder: str, context: SkillContext) -> str:
    """Pays once, in a bank that keeps a book."""

    async def paid() -> str:
        with (Path(folder) / "calls").open("a") as calls:
            calls.write(f"paid {name}\n")
        return name

    done = await context.effect("pay", request={"name": name}).aperform(paid)
    if (Path(folder) / f"pay.{name}.broken").exists():
        raise PermanentError("the bank does not answer")
    return done
