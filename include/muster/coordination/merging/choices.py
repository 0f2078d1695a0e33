"""Ways to choose among the sides of a conflict: the newest, a version that fits all, names of their own, a vote."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Generic, TypeVar

from muster.coordination.merging.outcome import Merged, Unmerged
from muster.coordination.merging.records import same

T = TypeVar("T")


@dataclass(frozen=True)
class Dated(Generic[T]):
    """A value, and when it was written."""

    value: T
    at: datetime | None


def newest(sides: Sequence[Dated[T]]) -> Merged[T] | Unmerged:
    """The value that was written last; a conflict when a time is missing or different values share the latest."""
    times = [side.at for side in sides if side.at is not None]
    if len(times) < len(sides) or not times:
        return Unmerged("nobody knows which is newer, because not every side says when it was written")
    if any(time.tzinfo is None for time in times):
        return Unmerged("nobody knows which is newer, because a time has no zone")
    latest = max(times)
    last = [side.value for side in sides if side.at == latest]
    if any(not same(value, last[0]) for value in last):
        return Unmerged(f"{len(last)} sides were written at the same time, {latest.isoformat()}")
    return Merged(last[0])


def highest_compatible(specifiers: Collection[str], versions: Iterable[str]) -> Merged[str] | Unmerged:
    """The highest of the versions that satisfies every specifier, as PEP 440 defines both.

    A pre-release is chosen only when a specifier names one, or when nothing else fits. Versions that PEP 440 does not
    know are passed over; a specifier that it does not know is a conflict.
    """
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.version import InvalidVersion, Version

    known = {}
    for text in versions:
        try:
            known[Version(text)] = text
        except InvalidVersion:
            continue
    try:
        sides = {text: SpecifierSet(text) for text in specifiers}
    except InvalidSpecifier as error:
        return Unmerged(f"PEP 440 does not know a specifier: {error}")
    both = SpecifierSet(",".join(filter(None, sides)))
    if fitting := list(both.filter(known)):
        return Merged(known[max(fitting)])
    best = {text: max(side.filter(known), default=None) for text, side in sides.items()}
    each = ", ".join(f"`{text}` is satisfied by {version or 'none'}" for text, version in best.items())
    return Unmerged(f"none of {len(known)} versions satisfies all sides; of each alone the highest: {each}")


def prefixed(name: str, agents: Sequence[str], taken: Collection[str] = ()) -> Merged[dict[str, str]] | Unmerged:
    """A name of its own for each agent: `report` of the agent `clerk` becomes `clerk_report`.

    A conflict when such a name is taken, or an agent wants the name twice.
    """
    names = {agent: f"{agent}_{name}" for agent in agents}
    if len(names) < len(agents):
        return Unmerged(f"one agent uses the name `{name}` for two things")
    if lost := sorted(set(names.values()) & set(taken)):
        return Unmerged(f"also the name `{lost[0]}` is taken")
    return Merged(names)


@dataclass(frozen=True)
class Ballots:
    """What was voted so far."""

    voters: int
    """How many may vote: the m of "n of m"."""
    cast: Mapping[str, str | None]
    """By voter the option; None is an abstention. A voter without an entry has not voted yet."""


@dataclass(frozen=True)
class VoteOpen(Unmerged):
    """The vote is not over: ballots that are still out can decide it."""


def vote(ballots: Ballots, needed: int | None = None) -> Merged[str] | Unmerged:
    """The option that a quorum chose, as soon as no ballot that is still out can change it.

    Args:
        needed: How many votes an option needs; default: more than half of the voters. An abstention counts for none.

    Returns:
        The option with the most votes, at least `needed`. A tie is a conflict. `VoteOpen` while the vote is not over.
    """
    quorum = ballots.voters // 2 + 1 if needed is None else needed
    counts = Counter(option for option in ballots.cast.values() if option is not None).most_common()
    out = max(ballots.voters - len(ballots.cast), 0)
    votes = counts[0][1] if counts else 0
    second = counts[1][1] if len(counts) > 1 else 0
    if votes >= quorum and votes > second + out:
        return Merged(counts[0][0])
    result = ", ".join(f"`{option}` {count}" for option, count in counts) or "no votes"
    if out and (votes + out >= quorum):
        return VoteOpen(f"{out} of {ballots.voters} have not voted yet: {result}")
    if votes >= quorum:
        return Unmerged(f"the vote is a tie: {result}")
    return Unmerged(f"no option has {quorum} of {ballots.voters} votes: {result}")
