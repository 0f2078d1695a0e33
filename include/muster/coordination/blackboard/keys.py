"""The keys of a blackboard: declared, each with what may stand under it."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from muster.coordination.blackboard.model import BoardRefused
from muster.coordination.messages.schemas import Schema, check_of


@dataclass(frozen=True)
class Key:
    """What may stand under one key, and on which board it is."""

    schema: Schema | None = None
    """A JSON Schema, or a pydantic type; None for any JSON."""
    of_goal: bool = False
    """True when it is on the board of the goal, which other runs share, and not on that of the run."""


class Keys:
    """The keys that there are. Others are refused, so a mistyped name is told of and not read as nothing."""

    def __init__(self, keys: Mapping[str, Key]) -> None:
        self.known = dict(keys)
        self._checks: dict[str, Callable[[object], list[str]]] = {}

    def of(self, name: str) -> Key:
        """The key of that name.

        Raises:
            BoardRefused: there is none.
        """
        if (key := self.known.get(name)) is not None:
            return key
        near = difflib.get_close_matches(name, self.known, n=1)
        there = ", ".join(sorted(self.known)) or "none"
        raise BoardRefused(
            f"There is no key `{name[:100]}` in the shared context.",
            remedy=f"Did you mean `{near[0]}`?" if near else f"Name one of those declared: {there}.",
        )

    def ensure_fits(self, name: str, value: object) -> None:
        """Do nothing if the value may stand under the key.

        Raises:
            BoardRefused: it does not fit; the message says where.
        """
        if (schema := self.of(name).schema) is None:
            return
        if name not in self._checks:
            self._checks[name] = check_of(name, schema)
        if problems := self._checks[name](value):
            raise BoardRefused(
                f"What was to be written under `{name}` does not fit it: {'; '.join(problems[:5])[:1000]}.",
                remedy="Write what the shared context declares for it.",
            )
