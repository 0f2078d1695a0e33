import os
from pathlib import Path

from muster.errors import PermanentError, SetAside
from muster.skills import SkillContext, skill


def folder() -> Path:
    return Path(os.environ["MUSTER_TEST_STORED"])


def said(*words: str) -> None:
    with (folder() / "calls").open("a") as calls:
        calls.write(" ".join(words) + "\n")


@skill("shop.names", lane="async")
async def names() -> list[str]:
    """The list as it is today."""
    return (folder() / "names").read_text().split()


@skill("shop.work", lane="async")
async def work(name: str, step: str) -> str:
    """Works, unless a file says that it is broken or to be set aside."""
    said(step, name)
    if (folder() / f"{step}.{name}.broken").exists():
        raise PermanentError(f"{name} is broken")
    if (folder() / f"{step}.{name}.aside").exists():
        raise SetAside(f"{name} is set aside")
    return name


@skill("shop.pay")
def pay(name: str, context: SkillContext) -> str:
    """Pays through the ledger of effects."""
    context.effect("pay", request={"name": name}).perform(lambda: said("pay", name))
    if (folder() / f"pay.{name}.broken").exists():
        raise PermanentError(f"{name} is paid, and broken")
    return name


@skill("shop.undo")
def undo(name: str, context: SkillContext) -> str:
    """Takes it back."""
    if (folder() / f"undo.{name}.broken").exists():
        raise PermanentError(f"{name} cannot be undone today")
    said("undo", name, str(context.undoes))
    return name
