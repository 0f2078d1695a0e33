"""What the expressions of a step refer to, found once for its checks and its definition."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from muster.language.expressions import references
from muster.language.kinds import KINDS
from muster.language.references import References

WITH_EXPRESSIONS = frozenset({"when", "each", "with", "fallback", "compensate", "lock"}).union(
    *(kind.expressions for kind in KINDS.values())
)
"""The keys of a step in which expressions can stand."""
_LISTS = frozenset(kind.model.list_key for kind in KINDS.values())
_CONDITIONS = frozenset({"when"}).union(*(kind.expressions for kind in KINDS.values() if kind.resolved.chooses))


@dataclass(frozen=True, slots=True)
class Usage:
    """The references of one step, by where they stand."""

    each: References
    """In what gives the list of a step that fans out."""
    when: References
    """In `when`, or in the ways of a branch."""
    work: References
    """In everything else that may hold expressions."""
    undo: References
    """In `compensate`."""
    elsewhere: bool
    """True when an expression stands where none may."""

    @property
    def steps(self) -> frozenset[str]:
        """Ids of all steps referred to, except in `compensate`."""
        return self.each.steps | self.when.steps | self.work.steps


def usage(step: Mapping[str, object]) -> Usage:
    """The references of a step as written.

    Raises:
        ExpressionSyntaxError: a text is not an expression of the language.
    """
    conditions, work, rest = [], [], []
    for key, value in step.items():
        if key not in WITH_EXPRESSIONS:
            rest.append(value)
        elif key in _CONDITIONS:
            conditions.append(value)
        elif key not in _LISTS and key != "compensate":
            work.append(value)
    return Usage(
        each=references(next((step[key] for key in _LISTS if key in step), None)),
        when=references(conditions),
        work=references(work),
        undo=references(step.get("compensate")),
        elsewhere=bool(references(rest).variables),
    )
