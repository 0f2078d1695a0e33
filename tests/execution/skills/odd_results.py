from pathlib import Path
from typing import Any

from muster.skills import skill


def paid(journal: str) -> None:
    with Path(journal).open("a") as file:
        file.write("paid\n")


class Proxy:
    """As lazy proxies do it: whatever it is asked, it asks the object it stands for, which is gone."""

    @property
    def __class__(self) -> Any:
        raise RuntimeError("working outside of context")

    def __str__(self) -> str:
        raise RuntimeError("working outside of context")


class Broken:
    """Its text cannot be had."""

    def __str__(self) -> str:
        raise RuntimeError("closed")


@skill("odd.proxy")
def proxy(journal: str) -> Any:
    """Gives back what fails where it is looked at."""
    paid(journal)
    return {"answer": Proxy()}


@skill("odd.broken")
def broken(journal: str) -> Any:
    """Gives back what has no text."""
    paid(journal)
    return [Broken()]


@skill("odd.no_number")
def no_number(journal: str) -> Any:
    """Gives back numbers that JSON has not."""
    paid(journal)
    return {"rate": float("nan"), "top": float("inf")}


@skill("odd.typed")
def typed(journal: str) -> float:
    """The same, with its type."""
    paid(journal)
    return float("nan")
