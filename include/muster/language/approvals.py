"""What cannot be undone: on every way that leads to it a person must have been asked, whose rejection stops it."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from graphlib import TopologicalSorter

from muster.language.explain import Located
from muster.language.expressions import references
from muster.language.graph import After, before
from muster.language.problems import Problem
from muster.language.resolve import alignments
from muster.language.steps import BranchStep, HumanStep, MappedStep, StepBase, WorkStep
from muster.language.usage import Usage


def check_approvals(
    steps: Sequence[StepBase], after: After, usages: Mapping[str, Usage], document: Located
) -> Iterator[Problem]:
    """One problem for each step that cannot be undone and can go ahead without an approval.

    `after` names steps there are, in no circle, and `usages` holds all of them.
    """
    checker = _Checker(steps, after, usages)
    for position, step in enumerate(steps):
        if not isinstance(step, WorkStep) or not step.irreversible or step.compensate is not None:
            continue
        if (found := checker.missing(step)) is not None:
            why, suggestion = found
            place = ("steps", position, "irreversible")
            message = f"`{step.id}` cannot be undone, and {why}"
            yield document.problem(message, place, key=True, suggestion=suggestion)


class _Checker:
    def __init__(self, steps: Sequence[StepBase], after: After, usages: Mapping[str, Usage]) -> None:
        self.steps = {step.id: step for step in steps}
        self.after, self.before = after, before(after)
        self.branches = {step.id: step for step in steps if isinstance(step, BranchStep)}
        self.aligned = alignments(usages, {step.id for step in steps if _fans_out(step)})
        self.named = {step.id: references(step.when).steps for step in steps}
        """The steps that each step's own `when` names; what the ways of a branch name is not among them."""
        self.stopped_by = self._stopped_by()

    def missing(self, step: StepBase) -> tuple[str, str] | None:
        """What is wrong, and what to write; None where a rejection stops the step on every way."""
        asked = [name for name in self.steps if name in self.before[step.id] and self._is_question(name)]
        if self.named[step.id].intersection(asked):
            return None  # It says itself what the answer means for it.
        aligned = {name for name in asked if _fans_out(step) and self.aligned.get(name) == self.aligned[step.id]}
        guards = self.stopped_by[step.id] | aligned
        if guards:
            past = way_past(step.id, self.after, self.branches, guards)
            where = " and ".join(past or ())
            remedy = f"Put a `human` step on that way too, or one directly before `{step.id}`."
            return None if past is None else (f"nobody approves it where {where}", remedy)
        if not asked:
            return "nobody approves it", "Put a `human` step before it."
        return self._unheard(step, asked)

    def _unheard(self, step: StepBase, asked: Sequence[str]) -> tuple[str, str]:
        """Why none of the approvals before a step is one of the step."""
        for question in asked:
            if not _fans_out(self.steps[question]):
                between = [name for name in self.steps if question in self.before[name] and self._asks(name)]
                other = next(name for name in between if name in self.before[step.id])
                after = ", ".join(dict.fromkeys([question, *self.after[step.id]]))
                message = f"goes ahead when `{question}` is rejected: `{other}` decides about that for itself only"
                return message, f"Write `after: [{after}]`: then a rejection skips `{step.id}`."
        if not _fans_out(step):
            message = f"`{asked[0]}` asks about items, not about all of it"
            return message, "Put a `human` step without `each` before it, or say in its `when` what the answers mean."
        message = f"`{asked[0]}` asks about the items of another list"
        return message, "Fan both out over the same list, or put a `human` step without `each` before it."

    def _stopped_by(self) -> dict[str, frozenset[str]]:
        """For each step the single questions of which a rejection skips it, and with it what comes after it.

        A step whose `when` names an approval decides about a rejection itself; it goes ahead, or is skipped by its
        `when`, and what comes after it goes ahead in both cases.
        """
        found: dict[str, frozenset[str]] = {}
        for name in TopologicalSorter(self.after).static_order():
            direct = {
                other
                for other in self.after[name]
                if self._is_question(other) and not _fans_out(self.steps[other]) and other not in self.named[name]
            }
            further = [] if self._asks(name) else [found[other] for other in self.after[name]]
            found[name] = frozenset(direct).union(*further)
        return found

    def _asks(self, name: str) -> bool:
        """True when the `when` of the step names an approval."""
        return any(self._is_question(other) for other in self.named[name] & self.before[name])

    def _is_question(self, name: str) -> bool:
        return isinstance(self.steps[name], HumanStep)


def way_past(
    goal: str, after: After, branches: Mapping[str, BranchStep], guards: Collection[str]
) -> tuple[str, ...] | None:
    """A way to `goal` on which none of `guards` is: where each branch goes, in words. None when there is none.

    Only the ways of a branch are alternatives; everything else that a step waits for has to end. Every choice is
    played, step by step, and those after which the same edges are open are gone on with once.
    """
    relevant = {goal, *before(after)[goal]}
    following = {name: {step for step in relevant if name in after[step]} for name in relevant}
    played: dict[frozenset[tuple[str, str]], tuple[str, ...]] = {frozenset(): ()}
    for step in TopologicalSorter({name: after[name] for name in relevant}).static_order():
        reached: dict[frozenset[tuple[str, str]], tuple[str, ...]] = {}
        for edges, said in played.items():
            rest = frozenset(edge for edge in edges if edge[1] != step)
            if rest == edges and after[step]:
                reached.setdefault(rest, said)  # No way that was taken leads to it.
            elif step == goal:
                return said
            elif step not in guards:
                for to, words in _ways(step, branches.get(step), following[step]):
                    reached.setdefault(rest | {(step, other) for other in to}, (*said, *words))
        played = reached
    return None


def _ways(name: str, branch: BranchStep | None, following: set[str]) -> Iterator[tuple[set[str], tuple[str, ...]]]:
    """Where it can go on after a step, with words for it where there is a choice."""
    if branch is None:
        yield following, ()
        return
    ways = [following.intersection(way.to) for way in branch.branch]
    for way, to in zip(branch.branch, ways, strict=True):
        names = " and ".join(f"`{other}`" for other in way.to)
        yield to, (f"`{name}` goes to {names}" if names else f"`{name}` goes nowhere",)
    if branch.branch[-1].when is not None:
        yield set(), (f"`{name}` goes nowhere",)
    if branch.when is not None:
        # Then nothing is chosen, and whatever waits for it goes ahead.
        yield following, (f"`{name}` is skipped",)


def _fans_out(step: StepBase) -> bool:
    return isinstance(step, MappedStep) and step.each is not None
