"""The check of irreversible steps: on every way to one a person must have been asked, and a rejection must stop it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from muster.language.explain import Located
from muster.language.graph import After, before
from muster.language.kinds import KINDS
from muster.language.problems import Problem
from muster.language.rejections import Rejections
from muster.language.resolve import alignments
from muster.language.steps import StepBase, WorkStep
from muster.language.usage import Usage


def check_approvals(
    steps: Sequence[StepBase], after: After, usages: Mapping[str, Usage], document: Located
) -> Iterator[Problem]:
    """One problem for each irreversible step that can go ahead without an approval.

    `after` must name only steps that exist, in no circle, and `usages` must hold every step.
    """
    checker = _Checker(steps, after, usages)
    for position, step in enumerate(steps):
        if not isinstance(step, WorkStep) or not step.irreversible or step.compensate is not None:
            continue
        if (fault := checker.missing(step)) is not None:
            why, suggestion = fault
            place = ("steps", position, "irreversible")
            message = f"`{step.id}` cannot be undone, and {why}"
            yield document.problem(message, place, key=True, suggestion=suggestion)


class _Checker:
    def __init__(self, steps: Sequence[StepBase], after: After, usages: Mapping[str, Usage]) -> None:
        self.steps = {step.id: step for step in steps}
        self.after, self.before = after, before(after)
        self.branches = {step.id: step for step in steps if step.ways}
        self.aligned = alignments(usages, {step.id for step in steps if _fans_out(step)})
        self.named = {name: used.when.steps for name, used in usages.items()}
        self.irreversible = {step.id for step in steps if isinstance(step, WorkStep) and step.irreversible}

    def missing(self, step: StepBase) -> tuple[str, str] | None:
        """What is wrong, and what to write; None when a rejection stops the step on every way."""
        asked = [name for name in self.steps if name in self.before[step.id] and self._is_question(name)]
        single = [name for name in asked if not _fans_out(self.steps[name])]
        aligned = [name for name in asked if _fans_out(step) and self.aligned.get(name) == self.aligned[step.id]]
        # A question about items is compared only with questions over the same list, which ask about the same item:
        # over another list no single answer rejects all of it.
        overruled = self._overruled(step, single, asked) or self._overruled(step, aligned, aligned)
        if overruled is not None:
            return overruled
        if self.named[step.id].intersection(asked):
            return None  # It says itself what the answer means for it.
        if guards := {*single, *aligned}:
            past = way_past(step.id, self.after, self.branches, guards)
            where = " and ".join(past or ())
            remedy = f"Put a `human` step on that way too, or one directly before `{step.id}`."
            return None if past is None else (f"nobody approves it where {where}", remedy)
        if not asked:
            return "nobody approves it", "Put a `human` step before it."
        if not _fans_out(step):
            message = f"`{asked[0]}` asks about items, not about all of it"
            return message, "Put a `human` step without `each` before it, or say in its `when` what the answers mean."
        message = f"`{asked[0]}` asks about the items of another list"
        return message, "Fan both out over the same list, or put a `human` step without `each` before it."

    def _overruled(self, step: StepBase, single: Sequence[str], asked: Sequence[str]) -> tuple[str, str] | None:
        """What is wrong when a question may be put after another one was rejected, and its approval overrules that."""
        ordinary = Rejections(self.after, self._decided(), self.irreversible - {step.id})
        for first in single:
            if first in self.named[step.id] or ordinary.skips(step.id, first):
                continue
            for second in asked:
                if first in self.before[second] and not ordinary.skips(second, first):
                    message = (
                        f"a rejection of `{first}` skips it, also where `{second}` is asked after that and approves"
                    )
                    after = ", ".join(dict.fromkeys([first, *self.after[step.id]]))
                    return message, (
                        f"Say in its `when` what both answers mean for it; where each of them must approve, "
                        f"write `after: [{after}]`."
                    )
        return None

    def _decided(self) -> Mapping[str, Collection[str]]:
        """For each step, the questions that it may decide about: it names them, or a branch that can take it does."""
        return {
            name: {*self.named[name]}.union(
                *(
                    self.named[other]
                    for other in self.after[name]
                    if any(name in way.to for way in self.steps[other].ways)
                )
            )
            for name in self.steps
        }

    def _is_question(self, name: str) -> bool:
        return KINDS[self.steps[name].kind].resolved.done_by == "people"


def way_past(
    goal: str, after: After, branches: Mapping[str, StepBase], guards: Collection[str]
) -> tuple[str, ...] | None:
    """A way to `goal` that passes none of `guards`: in words, where each branch goes. None when there is none.

    Only the ways of a branch are alternatives; everything else that a step waits for has to end. So a step is on no
    such way if a guard always follows it, and a branch's ways to such a step are closed. Each branch may take any of
    its open ways; `goal` can be reached past the guards if open ways lead to it.
    """
    relevant = {goal, *before(after)[goal]}
    following = {name: {step for step in relevant if name in after[step]} for name in relevant}
    order = list(TopologicalSorter({name: after[name] for name in relevant}).static_order())
    open_ways: dict[str, list[_Way]] = {}
    # From the goal backwards: a way is open only if each step that it leads to has an open way itself.
    for name in reversed(order):
        ways = [] if name in guards else _ways(name, branches.get(name), following[name])
        open_ways[name] = [way for way in ways if all(open_ways[other] for other in way[0])]
    # A step that waits for nothing begins in every run. Without an open way from it, every run meets a guard.
    if not all(after[name] or open_ways[name] for name in relevant):
        return None
    chosen = _chosen(goal, [name for name in order if after[name]], after, open_ways)
    if chosen is None:
        return None
    taken: set[str] = set()
    said: list[str] = []
    for name in order:
        if not after[name] or any(name in chosen[other][0] for other in taken.intersection(after[name])):
            taken.add(name)
            said += chosen[name][1]
    return tuple(said)


def _chosen(
    goal: str, order: Sequence[str], after: After, open_ways: Mapping[str, Sequence[_Way]]
) -> dict[str, _Way] | None:
    """For each step one of its open ways, such that `goal` is reached; None when it cannot be."""
    through = {name: ways[0] for name, ways in open_ways.items() if ways}
    came_by: dict[str, tuple[str, _Way]] = {}
    for name in order:
        for other in after[name]:
            way = next((way for way in open_ways[other] if name in way[0]), None)
            if way is not None and (other in came_by or not after[other]):
                came_by[name] = other, way
                break
    if after[goal] and goal not in came_by:
        return None
    while goal in came_by:
        goal, way = came_by[goal]
        through[goal] = way
    return through


_Way = tuple[Collection[str], tuple[str, ...]]
"""The steps that go ahead after a step, and words for that where there is a choice."""


def _ways(name: str, branch: StepBase | None, following: Collection[str]) -> Iterator[_Way]:
    """The ways on from a step: one, or those of a branch."""
    if branch is None:
        yield following, ()
        return
    ways = [set(following).intersection(way.to) for way in branch.ways]
    for way, to in zip(branch.ways, ways, strict=True):
        names = " and ".join(f"`{other}`" for other in way.to)
        yield to, (f"`{name}` goes to {names}" if names else f"`{name}` goes nowhere",)
    if branch.ways[-1].when is not None:
        yield set(), (f"`{name}` goes nowhere",)
    if branch.when is not None:
        # A branch that is skipped chooses nothing: every step that waits for it goes ahead.
        yield following, (f"`{name}` is skipped",)


def _fans_out(step: StepBase) -> bool:
    return step.fans_out
