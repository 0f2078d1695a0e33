"""Names and patterns of resources, indexed: which names match a pattern, and which patterns can match the same name.

In a pattern `*` stands for any text, also for none and across `/`; every other character for itself.
"""

from __future__ import annotations

import re
from bisect import bisect_left
from collections.abc import Collection, Iterator, Sequence


def is_pattern(touch: str) -> bool:
    """True when it stands for more than one name."""
    return "*" in touch


class NameIndex:
    """Names, sorted: those that can match a pattern begin with the text before its first `*`, so they adjoin."""

    def __init__(self, names: Collection[str]) -> None:
        self._names = sorted(set(names))

    def matching(self, pattern: str) -> list[str]:
        """The names that the pattern matches, sorted."""
        prefix = pattern.partition("*")[0]
        matches = re.compile(".*".join(map(re.escape, pattern.split("*"))), re.DOTALL).fullmatch
        found = []
        for name in self._names[bisect_left(self._names, prefix) :]:
            if not name.startswith(prefix):
                break
            if matches(name):
                found.append(name)
        return found


def overlapping(patterns: Collection[str]) -> Iterator[tuple[str, str]]:
    """The pairs of patterns that can match the same name, each pair once, and each pattern with itself.

    Two patterns can exactly when the text before the first `*` of one begins with that of the other, and the text
    behind the last `*` of one ends with that of the other: what is left of each fits between, one after the other.
    """
    ordered: Sequence[str] = sorted(set(patterns), key=lambda pattern: pattern.partition("*")[0])
    prefixes = [pattern.partition("*")[0] for pattern in ordered]
    suffixes = [pattern.rpartition("*")[2] for pattern in ordered]
    for one, prefix in enumerate(prefixes):
        for other in range(one, len(ordered)):
            if not prefixes[other].startswith(prefix):
                break
            if suffixes[one].endswith(suffixes[other]) or suffixes[other].endswith(suffixes[one]):
                yield ordered[one], ordered[other]
