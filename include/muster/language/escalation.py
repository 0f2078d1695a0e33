"""What must hold of a question's reminders, escalations and approvals."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from muster.language.durations import parse_duration
from muster.language.expressions import is_expression
from muster.language.steps import Human

if TYPE_CHECKING:
    from muster.language.explain import Located
    from muster.language.problems import Problem
    from muster.language.reading import Path


def check_escalation(human: Human, path: Path, document: Located) -> Iterator[Problem]:
    """What of a question could never happen, or could never be answered."""
    end = parse_duration(human.within) if human.within else None
    times: list[tuple[str, Path]] = [(after, ("remind", number)) for number, after in enumerate(human.remind)]
    times += [(level.after, ("escalate", number, "after")) for number, level in enumerate(human.escalate)]
    for after, place in times:
        if end is not None and parse_duration(after) >= end:
            message = f"`{after}` is never reached: no answer within `{human.within}` is a rejection"
            yield document.problem(message, (*path, *place))
    for number, level in enumerate(human.escalate):
        if not level.to:
            yield document.problem("it is escalated to nobody: `to` is empty", (*path, "escalate", number, "to"))
    for people, place in _named(human):
        for number, name in enumerate(people if isinstance(people, list) else filter(None, [people])):
            if not name.strip():
                message = "a person has no empty user name: nobody could answer"
                yield document.problem(message, (*path, *place, number))
    known = _known_people(human)
    if known and len(known) < human.approvals:
        message = f"{human.approvals} people have to approve, and only {len(known)} may answer"
        yield document.problem(message, (*path, "approvals"), suggestion="Name more people, or ask for fewer.")


def _named(human: Human) -> list[tuple[list[str] | str, Path]]:
    """Who may ever answer, and where it is said."""
    levels = [(level.to, ("escalate", number, "to")) for number, level in enumerate(human.escalate)]
    return [(human.assignees, ("assignees",)), *levels]


def _known_people(human: Human) -> set[str] | None:
    """Everybody who may ever answer; None when expressions say who."""
    lists = [[people] if isinstance(people, str) else people for people, _ in _named(human)]
    names = {name for entry in lists for name in entry}
    return None if any(is_expression(name) for name in names) else names
