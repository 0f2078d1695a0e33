"""Goals from the text of a strategy: the rule that stands in for a model."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date
from decimal import Decimal

from muster.errors import PermanentError
from muster.skills.registry import skill
from muster.skills.strategy.goals import Goal, Goals, Kpi

_ITEM = re.compile(r"^(?P<mark>#{2,6}|[ \t]*[-*])\s+(?P<text>\S.*)$", re.MULTILINE)
_NUMBER = r"-?\d[\d,]*(?:\.\d+)?"
_KPI = re.compile(
    rf"(?P<measure>[^:;.()\[\]]*?)\s*\bfrom\s+(?P<baseline>{_NUMBER})\s*(?P<unit1>%|[^\W\d]+(?:\s(?!to\b)[^\W\d]+)?)?\s+to\s+"
    rf"(?P<target>{_NUMBER})\s*(?P<unit2>%|(?!by\b)[^\W\d]+(?:\s(?!by\b)[^\W\d]+)?)?\s*,?\s+by\s+(?P<due>\d{{4}}-\d{{2}}-\d{{2}})",
    re.IGNORECASE,
)
_WEIGHT = re.compile(r"\[(\d{1,3}(?:\.\d+)?)\s*%\]")
_DEPARTMENT = re.compile(r"@([a-z][a-z0-9_-]*)", re.IGNORECASE)
_LONGEST, _LONGEST_ITEM = 100_000, 1_000


@skill("strategy.read_goals")
def read_goals(text: str) -> Goals:
    """Find the goals in a text: each heading below the first, or item of a list, that says `from X to Y by DATE`.

    `[40%]` is what a goal counts for, `@sales` names a department, and items below a heading or further in are the
    parts of what stands above them. What says no numbers groups its parts; what has neither is no goal.

    Raises:
        PermanentError: there is no goal in it, or a date or number that there is not.
    """
    if len(text) > _LONGEST:
        raise PermanentError(f"The text has {len(text)} characters, more than {_LONGEST}.", remedy="Shorten it.")
    above: list[tuple[int, Goal]] = []
    roots: list[Goal] = []
    names: set[str] = set()
    for depth, line in _items(text):
        goal = _goal(line, names)
        while above and above[-1][0] >= depth:
            above.pop()
        (above[-1][1].parts if above else roots).append(goal)
        above.append((depth, goal))
    goals = [kept for goal in roots if (kept := _kept(goal))]
    if not goals:
        raise PermanentError(
            "There is no goal in the text: nothing says `from X to Y by DATE`.",
            remedy="Write goals as in `- Win customers: customers from 20 to 50 by 2027-06-30 [60%] @sales`.",
        )
    return Goals(goals=goals)


def _items(text: str) -> Iterator[tuple[int, str]]:
    """The headings and list items, each with how deep it stands."""
    heading = 0
    for found in _ITEM.finditer(text):
        mark = found["mark"]
        if mark.startswith("#"):
            heading = len(mark)
            yield heading, found["text"][:_LONGEST_ITEM]
        else:
            yield heading + 1 + len(mark.expandtabs(4)), found["text"][:_LONGEST_ITEM]


def _goal(line: str, names: set[str]) -> Goal:
    weight, kpi = _WEIGHT.search(line), _KPI.search(_WEIGHT.sub("", _DEPARTMENT.sub("", line)))
    plain = " ".join(_WEIGHT.sub("", _DEPARTMENT.sub("", line)).split()).rstrip(".")
    title = (plain.partition(":")[0] if ":" in plain else plain)[:300]
    return Goal(
        id=_name(title, names),
        title=title,
        weight=_weight(weight[1], line) if weight else None,
        kpi=_measured(kpi, title, line) if kpi else None,
        departments=[name.lower().replace("-", "_") for name in dict.fromkeys(_DEPARTMENT.findall(line))],
    )


def _weight(percent: str, line: str) -> Decimal:
    if not 0 < Decimal(percent) <= 100:
        raise PermanentError(f"{percent} % is no weight, in {line[:100]!r}.", remedy="Write 1 to 100.")
    return Decimal(percent) / 100


def _measured(found: re.Match[str], title: str, line: str) -> Kpi:
    try:
        due = date.fromisoformat(found["due"])
    except ValueError as error:
        raise PermanentError(
            f"{found['due']} is no date, in {line[:100]!r}.", remedy="Write it as 2027-06-30."
        ) from error
    baseline, target = (Decimal(found[name].replace(",", "")) for name in ("baseline", "target"))
    if baseline == target:
        raise PermanentError(f"The goal is where it stands already, in {line[:100]!r}.", remedy="Give another target.")
    measure = re.sub(r"^(and|of|the)\s+", "", found["measure"].strip(" ,"), flags=re.IGNORECASE)
    unit = found["unit2"] or found["unit1"]
    return Kpi(measure=(measure or title).strip()[:200], baseline=baseline, target=target, unit=unit, due=due)


def _kept(goal: Goal) -> Goal | None:
    """The goal with those of its parts that are goals; None when nothing of it can be measured."""
    parts = [kept for part in goal.parts if (kept := _kept(part))]
    return goal.model_copy(update={"parts": parts}) if parts or goal.kpi is not None else None


def _name(title: str, names: set[str]) -> str:
    words = re.findall(r"[a-z0-9]+", title.lower())[:6]
    name = "_".join(words)[:50] or "goal"
    name = name if name[0].isalpha() else f"goal_{name}"
    known, number = name, 2
    while known in names:
        known, number = f"{name}_{number}", number + 1
    names.add(known)
    return known
