"""Predicts conflicts before work starts: tasks that may run side by side and are likely to change the same resource."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from itertools import combinations, combinations_with_replacement, product
from math import prod
from typing import Literal, NamedTuple, TypeAlias

from muster.coordination.conflicts.patterns import NameIndex, is_pattern, overlapping
from muster.errors import PermanentError

NAMED = 0.95
"""How likely a task changes a resource that it declares by name, as long as nothing else is known."""
COVERED = 0.6
"""How likely a task changes at least one of the known resources that a pattern of it matches."""
NEGLIGIBLE = 0.1
"""Resources that a task changes less likely than this are left out."""
DECLARED_WEIGHT = 2
"""As many earlier runs a declaration counts for."""

History: TypeAlias = Mapping[str, Sequence[Collection[str]]]
"""By kind of task, of each earlier run the resources that it changed."""

Suggestion: TypeAlias = Literal["order", "lease", "split"]


@dataclass(frozen=True)
class TaskTouches:
    """What is known of a task before it starts."""

    id: str
    after: tuple[str, ...] = ()
    """The tasks that it waits for."""
    touches: tuple[str, ...] = ()
    """The resources that it declares it will change: names, or patterns in which `*` stands for any text."""
    kind: str | None = None
    """What its earlier runs are found by in the history."""


class SharedResource(NamedTuple):
    """A resource that two tasks may both change."""

    name: str
    """Its name; two patterns that can match the same name are written `src/* & *.py`."""
    probability: float
    """How likely both change it."""
    is_name: bool
    """True when both tasks know it by name: they declare it, or changed it in earlier runs."""


@dataclass(frozen=True)
class PredictedConflict:
    """Two tasks that may run side by side and change the same resource."""

    first: str
    second: str
    probability: float
    resources: tuple[SharedResource, ...]
    """The most likely first."""
    suggestion: Suggestion
    """`order`: one task after the other. `lease`: side by side, and only one at a time holds what both change. `split`:
    give each task names of its own."""

    @property
    def why(self) -> str:
        """The reason for the suggestion, as one sentence."""
        names = ", ".join(f"`{resource.name}`" for resource in self.resources[:3])
        more = f" and {len(self.resources) - 3} more" if len(self.resources) > 3 else ""
        return {
            "order": f"{names}{more}: at least half of what one of them changes, so little is left to do side by side.",
            "lease": f"{names}{more}: the smaller part of what each of them changes, so they take turns only there.",
            "split": f"{names}{more}: only patterns meet there, and narrower ones would show whether the tasks do.",
        }[self.suggestion]


def predict_conflicts(
    tasks: Sequence[TaskTouches], history: History | None = None, *, at_least: float = 0.0
) -> list[PredictedConflict]:
    """The conflicts to expect among tasks that no dependency orders, the most likely first.

    The probability `p(t, r)` that task `t` changes resource `r` comes from what `t` declares, `d(t, r)`, and from `n`
    earlier runs of its kind, of which `k` changed `r`:

        p(t, r) = (DECLARED_WEIGHT * d(t, r) + k) / (DECLARED_WEIGHT + n)

    `d` is `NAMED` for a resource that the task declares by name, and 0 for any that it does not declare. A `p` below
    `NEGLIGIBLE` counts as 0. A pattern that matches `m` of the resources that tasks know by name gives each of them
    `1 - (1 - COVERED)^(1/m)`: it touches at least one of them with probability `COVERED`. Patterns that can match the
    same name, and match no known one in common, share one unknown resource, with `COVERED`. The probability of a
    conflict is

        1 - product over r of (1 - p(a, r) * p(b, r))

    Assumptions: tasks and resources are independent; whatever both change conflicts, though many such edits merge;
    tasks that no dependency orders run at the same time. So it is rather too high than too low.

    Args:
        at_least: Leaves out what is less likely.

    Raises:
        PermanentError: two tasks share an id, or a task waits for one that is not there, or in a circle for itself.
    """
    ordered = _ordered(tasks)
    # Tasks of one kind that touch the same are one profile: many alike cost no more than one.
    members: dict[tuple[frozenset[str], str], list[int]] = defaultdict(list)
    for place, task in enumerate(tasks):
        members[frozenset(task.touches), task.kind or ""].append(place)
    groups = list(members.values())
    knowledge = _Knowledge(list(members), history or {})
    shared: dict[tuple[int, int], list[SharedResource]] = defaultdict(list)
    for one, other, resource in knowledge.meetings():
        if one != other or len(groups[one]) > 1:
            shared[min(one, other), max(one, other)].append(resource)
    predicted: list[tuple[float, int, int, tuple[SharedResource, ...], Suggestion]] = []
    for (one, other), resources in shared.items():
        probability = 1 - prod(1 - resource.probability for resource in resources)
        if probability < at_least:
            continue
        resources.sort(key=lambda resource: (-resource.probability, resource.name))
        found = tuple(resources), knowledge.suggestion(one, other, resources)
        pairs = combinations(groups[one], 2) if one == other else product(groups[one], groups[other])
        predicted += [(probability, min(it), max(it), *found) for it in pairs if not ordered[it[0]] >> it[1] & 1]
    predicted.sort(key=lambda entry: (-entry[0], entry[1], entry[2]))
    return [
        PredictedConflict(tasks[first].id, tasks[second].id, probability, both, suggestion)
        for probability, first, second, both, suggestion in predicted
    ]


class _Knowledge:
    """What tasks may change, by the place of their profile: names, with their probabilities, and patterns."""

    def __init__(self, profiles: Sequence[tuple[frozenset[str], str]], history: History) -> None:
        self._named: dict[str, dict[int, float]] = defaultdict(dict)
        self._declaring: dict[str, list[int]] = defaultdict(list)
        self._weights = []
        """What a declaration counts for beside the earlier runs."""
        self._sizes = []
        """How many names and patterns there are."""
        changed = {kind: Counter(name for run in runs for name in set(run)) for kind, runs in history.items()}
        for place, (touches, kind) in enumerate(profiles):
            runs = DECLARED_WEIGHT + len(history.get(kind, ()))
            chances = {name: count / runs for name, count in changed.get(kind, Counter()).items()}
            patterns = set(filter(is_pattern, touches))
            for name in touches - patterns:
                chances[name] = chances.get(name, 0) + NAMED * DECLARED_WEIGHT / runs
            likely = {name: chance for name, chance in chances.items() if chance >= NEGLIGIBLE}
            for name, chance in likely.items():
                self._named[name][place] = chance
            for pattern in patterns:
                self._declaring[pattern].append(place)
            self._weights.append(DECLARED_WEIGHT / runs)
            self._sizes.append(len(likely) + len(patterns))

    def meetings(self) -> Iterator[tuple[int, int, SharedResource]]:
        """What tasks of two profiles, or of one, share."""
        for name, those in self._named.items():
            for (one, chance), (other, other_chance) in combinations_with_replacement(those.items(), 2):
                yield one, other, SharedResource(name, chance * other_chance, True)
        index = NameIndex(self._named)
        known = {pattern: frozenset(index.matching(pattern)) for pattern in self._declaring}
        for pattern, names in known.items():
            yield from self._covered(pattern, names)
        for pattern, another in overlapping(self._declaring):
            yield from self._between(pattern, another, known[pattern], known[another])

    def _covered(self, pattern: str, names: frozenset[str]) -> Iterator[tuple[int, int, SharedResource]]:
        """Where one knows names, and the other has a pattern that matches them."""
        chances: dict[int, list[float]] = defaultdict(list)
        for name in names:
            for one, chance in self._named[name].items():
                chances[one].append(chance)
        declaring: dict[float, list[int]] = defaultdict(list)
        for other in self._declaring[pattern]:
            declaring[self._weights[other]].append(other)
        for weight, others in declaring.items():
            share = weight * _share(len(names))
            for one, those in chances.items():
                resource = SharedResource(pattern, 1 - prod(1 - chance * share for chance in those), False)
                yield from ((one, other, resource) for other in others if other != one)

    def _between(
        self, pattern: str, another: str, names: frozenset[str], others: frozenset[str]
    ) -> Iterator[tuple[int, int, SharedResource]]:
        """Where both have only patterns."""
        label = pattern if pattern == another else f"{pattern} & {another}"
        common = len(names & others)
        chance = _share(len(names)) * _share(len(others)) if common else COVERED * COVERED
        for one in self._declaring[pattern]:
            for other in self._declaring[another]:
                if one <= other or pattern != another:
                    each = chance * self._weights[one] * self._weights[other]
                    yield one, other, SharedResource(label, 1 - (1 - each) ** max(common, 1), False)

    def suggestion(self, one: int, other: int, resources: Collection[SharedResource]) -> Suggestion:
        """What to do about a conflict between tasks of the two profiles."""
        named = sum(resource.is_name for resource in resources)
        if not named:
            return "split"
        return "order" if named * 2 >= min(self._sizes[one], self._sizes[other]) else "lease"


def _share(matches: int) -> float:
    """What each of the known resources has of a pattern that matches so many of them."""
    return 1.0 - float((1 - COVERED) ** (1 / max(matches, 1)))


def _ordered(tasks: Sequence[TaskTouches]) -> list[int]:
    """For each task, those that must be done before or after it, as bits by their positions."""
    places = {task.id: place for place, task in enumerate(tasks)}
    if len(places) < len(tasks):
        [(twice, _)] = Counter(task.id for task in tasks).most_common(1)
        raise PermanentError(f"Two tasks are called `{twice}`.", remedy="Give each an id of its own.")
    before = [0] * len(tasks)
    try:
        order = list(TopologicalSorter({task.id: task.after for task in tasks}).static_order())
    except CycleError as error:
        raise PermanentError(f"Tasks wait for each other in a circle: {' -> '.join(error.args[1])}.") from error
    for name in order:
        if name not in places:
            raise PermanentError(f"A task waits for `{name}`, which is not there.")
        for earlier in tasks[places[name]].after:
            before[places[name]] |= before[places[earlier]] | 1 << places[earlier]
    ordered = before.copy()
    for place, earlier_ones in enumerate(before):
        for earlier_one in range(len(tasks)):
            ordered[earlier_one] |= (earlier_ones >> earlier_one & 1) << place
    return ordered
