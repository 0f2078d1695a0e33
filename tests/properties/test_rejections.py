"""What cannot be undone never goes ahead after a rejection, whatever the automation is and whatever people answer."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import HealthCheck, event, given, settings

from support.asked import LAST, Checked, Played, Step, checked, known, plays, steps

MANY = settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.too_slow])


def made(written: tuple[Step, ...]) -> Checked | None:
    with tempfile.TemporaryDirectory() as site:
        return checked(Path(site), written)


def decided_itself(automation: Checked, played: Played, question: str) -> bool:
    """True when the automation says what an answer means: the step's `when`, or a branch that took it."""
    last = automation.steps[-1]
    branches = [step for step in automation.steps if LAST in played.taken.get(step.name, ())]
    tells = [told for step in branches for told, _ in step.ways if told is not None]
    return any(told.question == question for told in [*tells, *([last.when] if last.when else [])])


def about(automation: Checked, question: Step, index: int | None) -> bool:
    """True when the question is about the work item itself: about this item, or about all of it."""
    return question.each is None or (index is not None and question.each == automation.steps[-1].each)


def ensure_no_rejection_is_passed_over(automation: Checked) -> None:
    """What cannot be undone goes ahead after no rejection but one that it decides about."""
    for played in plays(automation, automation.definition):
        for _, index in (work for work in played.did if work[0] == LAST):
            for question in automation.questions:
                if decided_itself(automation, played, question.name):
                    continue
                own = played.answers.get((question.name, index if question.each else None), True)
                no = not own if about(automation, question, index) else played.rejected(question)
                assert not no, f"{question.name} was rejected"


def ensure_somebody_is_asked(automation: Checked) -> None:
    """What the lint accepts was asked about, or a question says itself that nobody need be asked.

    Where it decides about an answer itself, the automation says what that means.
    """
    if automation.problems:
        return
    for played in plays(automation, automation.definition):
        if any(decided_itself(automation, played, question.name) for question in automation.questions):
            continue
        for _, index in (work for work in played.did if work[0] == LAST):
            told = {*played.answers, *played.not_needed}
            assert any(
                (question.name, index if question.each else None) in told or (question.name, None) in told
                for question in automation.questions
                if about(automation, question, index)
            ), "nobody was asked"


def ensure_nobody_is_asked_in_vain(automation: Checked) -> None:
    """Where the lint accepts it, nobody is asked after a rejection, and approves, and it is skipped all the same.

    Unless an ordinary step in its place would be skipped too: then the automation says that one rejection is enough.
    """
    if automation.problems:
        return
    both = zip(plays(automation, automation.definition), plays(automation, automation.ordinary), strict=True)
    for played, ordinary in both:
        for _, index in {work for work in ordinary.did if work[0] == LAST} - played.did:
            for first in automation.questions:
                if not about(automation, first, index) or decided_itself(automation, played, first.name):
                    continue
                if played.answers.get((first.name, index if first.each else None), True):
                    continue
                assert not any(
                    played.answers.get((second.name, index if second.each else None), False)
                    for second in automation.questions
                    if first.name in automation.before[second.name] and first.each in (None, second.each)
                ), f"{first.name} was rejected, and somebody was asked again"


PROMISES = [ensure_no_rejection_is_passed_over, ensure_somebody_is_asked, ensure_nobody_is_asked_in_vain]


@pytest.mark.parametrize("ensure", PROMISES)
@pytest.mark.parametrize("name", known())
def test_what_cannot_be_undone_hears_every_rejection(name: str, ensure: Callable[[Checked], None]) -> None:
    automation = made(known()[name])
    assert automation is not None
    ensure(automation)


@MANY
@given(steps())
def test_so_it_does_in_automations_of_any_kind(written: tuple[Step, ...]) -> None:
    """Also in those that the lint refuses, because an earlier version may not have."""
    automation = made(written)
    event("other problems" if automation is None else "refused" if automation.problems else "accepted")
    if automation is not None:
        for ensure in PROMISES:
            ensure(automation)
