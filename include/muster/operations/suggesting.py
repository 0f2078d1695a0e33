"""What to look at first, of how runs went: rules with numbers, and nothing that a number does not say."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from muster.events.looking_back import AutomationRecord, StepRecord
from muster.events.model import ASKING

LITTLE = 1.2
"""A speed-up below which doing things side by side is not worth its places."""
ENOUGH = 5
"""Runs from which on a share says something."""


def suggestions(automations: Sequence[AutomationRecord], steps: Sequence[StepRecord]) -> Iterator[str]:
    """Sentences, about each automation those that its numbers call for."""
    for record in automations:
        yield from _about(record, [step for step in steps if step.automation == record.automation])


def _about(record: AutomationRecord, steps: Sequence[StepRecord]) -> Iterator[str]:
    name = record.automation
    if record.stuck:
        yield f"{name}: {record.stuck} stuck, for a person: `muster runs --automation {name} --status stuck`."
    for step in sorted(steps, key=lambda it: -it.failed):
        if step.failed and step.failed * 10 >= step.runs and step.runs >= ENOUGH:
            kind = f", mostly with {step.error}" if step.error else ""
            yield (
                f"{name}: {step.step} failed in {step.failed} of {step.runs} runs{kind}. "
                "Mend the cause, or give it `retry` or a `fallback`."
            )
    whole = sum(step.seconds for step in steps)
    longest = max(steps, key=lambda it: it.seconds, default=None)
    if longest is not None and record.ended >= ENOUGH and longest.seconds * 2 > whole and len(steps) > 1:
        share = f"{longest.seconds / whole:.0%} of the time"
        if longest.kind in ASKING:
            yield (
                f"{name}: {share} is waiting for people at {longest.step}. "
                "Name more assignees, remind them earlier, or ask only where it matters (`when`)."
            )
        elif longest.speed_up is None:
            yield f"{name}: {share} is {longest.step}: what is made faster there counts."
    for step in steps:
        if step.speed_up is not None and step.speed_up < LITTLE and step.runs >= ENOUGH:
            yield (
                f"{name}: {step.step} is done only {step.speed_up:.1f} times as fast as one item after the other. "
                "Its items wait for one another, for a lock or for places: fewer dependencies help, or a smaller team."
            )
