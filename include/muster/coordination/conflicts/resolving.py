"""Resolves a conflict by the rule for its kind, or hands it on with all sides kept."""

from __future__ import annotations

from collections.abc import Iterator

from muster.coordination.conflicts.model import Conflict, Decider, HandedOn, Resolution, ResolutionContext, Resolved
from muster.coordination.conflicts.rule import ConflictRule, Waiting
from muster.coordination.conflicts.settings import ConflictSettings
from muster.coordination.conflicts.strategies import STRATEGIES
from muster.coordination.merging import Difference, Unmerged


def resolve(conflict: Conflict, settings: ConflictSettings, context: ResolutionContext | None = None) -> Resolution:
    """Try the strategy for the kind of conflict, then its fallback, then hand it to a person.

    The same arguments give the same resolution. Nothing is read or written besides what the checks do. What a check
    raises passes through, and nothing is resolved.

    Returns:
        `Resolved`, with the value that passed all checks; or `HandedOn`, to whom a strategy waits for, or to a person:
        when no strategy found a value that passed, or when the rule's `person_from` asks one to approve the one that
        did.
    """
    context = context or ResolutionContext()
    rule = settings.rule(conflict.kind)
    why: list[str] = []
    differences: tuple[Difference, ...] = ()
    for name in (rule.strategy, rule.fallback):
        strategy = STRATEGIES[name]
        finding = strategy.settle(conflict, rule, context)
        if isinstance(finding, Waiting):
            reason = f"`{name}`: {finding.reason}."
            return HandedOn(conflict=conflict, to=finding.on, why=(*why, reason), differences=differences)
        if isinstance(finding, Unmerged):
            differences = differences or finding.differences
            why.append(f"`{name}`: {finding.reason}.")
        elif objections := list(_objections(conflict, finding.value, rule, context)):
            why += [f"`{name}`: {objection}." for objection in objections]
        else:
            found = Resolved(
                conflict=conflict, value=finding.value, strategy=name, why=(*why, f"`{name}`: {strategy.why}.")
            )
            return _approved(found, rule, context)
    return HandedOn(conflict=conflict, to=Decider.HUMAN, why=tuple(why), differences=differences)


def _objections(conflict: Conflict, value: object, rule: ConflictRule, context: ResolutionContext) -> Iterator[str]:
    for name in rule.checks:
        check = context.checks.get(name)
        wrong = "it is not there, so nothing passes it" if check is None else check(conflict, value)
        if wrong is not None:
            yield f"the check `{name}` refuses it: {wrong.rstrip('.')}"


def _approved(found: Resolved, rule: ConflictRule, context: ResolutionContext) -> Resolution:
    """The resolution, or the question to a person whether it counts."""
    if rule.person_from is None or context.count < rule.person_from:
        return found
    reason = f"A person approves it: from {rule.person_from} conflicts of {found.conflict.kind} on, and it is number"
    why = (*found.why, f"{reason} {context.count}.")
    return HandedOn(conflict=found.conflict, to=Decider.HUMAN, why=why, proposal=found)
