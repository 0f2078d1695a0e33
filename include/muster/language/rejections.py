"""Which steps the rejection of a question skips: one rule, for the lint and for the run."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass


@dataclass(frozen=True)
class Rejections:
    """How far a rejection reaches.

    It skips the step after the question, and what comes after that. A step whose `when` names the question decides
    about it itself, as does a branch whose ways name it, and what comes after goes ahead. An irreversible step does
    not: the rejection of every question before it counts, unless its own `when` names that very question.
    """

    after: Mapping[str, Sequence[str]]
    """For each step, the steps it waits for."""
    named: Mapping[str, Collection[str]]
    """For each step, what its `when`, or the ways of a branch, name."""
    irreversible: Collection[str]

    def skips(self, step: str, question: str) -> bool:
        """True when the rejection of `question` skips `step`, which comes after it."""
        waiting, seen = [(step, False)], set()
        while waiting:
            name, every_one_counts = visit = waiting.pop()
            if visit in seen or (not every_one_counts and question in self.named[name]):
                continue
            if question in self.after[name]:
                return True
            seen.add(visit)
            counts = every_one_counts or name in self.irreversible
            waiting.extend((other, counts) for other in self.after[name])
        return False
