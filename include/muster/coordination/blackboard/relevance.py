"""Which entries an agent is shown: the most relevant that fit, by a rule that gives the same every time.

Relevance is the number of different words of at least three letters that what the agent is asked has in common with the
key and what stands under it. Of entries that have as many in common, the one written later goes first.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from muster.coordination.blackboard.model import Entry
from muster.events.canonical import canonical

CHARACTERS_PER_TOKEN = 3
"""On the careful side: English text has about four."""

_WORD = re.compile(r"[^\W_]{3,}")


@dataclass(frozen=True)
class LeftOut:
    """An entry that is not shown."""

    key: str
    version: int
    tokens: int
    why: str
    """`too large`: alone more than there is room for. `no room`: others are more relevant, or were written later."""


@dataclass(frozen=True)
class Shown:
    """What an agent is shown of a blackboard."""

    entries: Sequence[Entry]
    """The most relevant first."""
    left_out: Sequence[LeftOut]
    tokens: int
    """About how many they take."""


def most_relevant(entries: Iterable[Entry], asked: str, tokens: int) -> Shown:
    """The entries for somebody who is asked this, in at most so many tokens.

    One that is alone too large is left out whatever it says. Then the least relevant are left out, of several that are
    as relevant the oldest first, until the rest has room. No entry is cut.
    """
    wanted = words(asked)
    ranked = sorted(
        (entry for entry in entries if entry.can_be_shown),
        key=lambda entry: (-relevance(entry, wanted), -entry.written_at.timestamp(), entry.key),
    )
    sizes = {entry.key: size(entry) for entry in ranked}
    too_large = [
        LeftOut(each.key, each.version, sizes[each.key], "too large") for each in ranked if sizes[each.key] > tokens
    ]
    shown = [entry for entry in ranked if sizes[entry.key] <= tokens]
    no_room: list[LeftOut] = []
    while sum(sizes[entry.key] for entry in shown) > tokens:
        last = shown.pop()
        no_room.append(LeftOut(last.key, last.version, sizes[last.key], "no room"))
    return Shown(shown, [*no_room, *too_large], sum(sizes[entry.key] for entry in shown))


def words(text: str) -> frozenset[str]:
    """The words by which relevance is counted."""
    return frozenset(_WORD.findall(text.casefold()))


def relevance(entry: Entry, wanted: frozenset[str]) -> int:
    """How many of the words it has."""
    return len(wanted & words(f"{entry.key} {canonical(entry.value)}"))


def size(entry: Entry) -> int:
    """About how many tokens it takes."""
    return -(-len(entry.key + canonical(entry.value)) // CHARACTERS_PER_TOKEN)
