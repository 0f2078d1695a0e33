"""Promises of retries: how often and how long by kind of failure, one budget for a run, the same in both lanes."""

from __future__ import annotations

import asyncio
import dataclasses
import random
from itertools import pairwise
from typing import Any

import pytest

from muster.agents.errors import BadOutput
from muster.errors import ErrorClass, PermanentError, TransientError
from muster.events.payloads.base import RecordedError
from muster.events.payloads.work import StepRetried
from muster.execution.references import WorkRef
from muster.execution.retry_budget import spend
from muster.execution.retrying import RetryState, with_retries
from muster.language.resolved import ResolvedClassRetry, ResolvedRetry
from support.runs import Site
from support.sources import source_of

RATE = TransientError("slow down", error_class=ErrorClass.RATE_LIMIT)


def waits(retry: ResolvedRetry, *errors: Exception, seed: int = 1) -> list[float]:
    """The waits before the attempts that follow these failures, up to the first that is not repeated."""
    patience = RetryState(retry, random.Random(seed))
    found = []
    for error in errors:
        if not patience.may_go_on(error):
            break
        found.append(patience.delay)
    return found


def test_waits_are_drawn_below_a_limit_that_grows_to_its_cap() -> None:
    retry = ResolvedRetry(times=100, delay=1, backoff=2, max_delay=8)
    drawn = [waits(retry, *[TransientError("x")] * 8, seed=seed) for seed in range(300)]
    for number in range(8):
        limit = min(2**number, 8)
        column = [each[number] for each in drawn]
        assert max(column) <= limit
        assert max(column) > 0.9 * limit
        assert min(column) < 0.1 * limit


def test_the_same_seed_gives_the_same_waits() -> None:
    retry = ResolvedRetry(times=5)
    failures = [TransientError("x")] * 5
    assert waits(retry, *failures, seed=3) == waits(retry, *failures, seed=3) != waits(retry, *failures, seed=4)


def test_a_huge_backoff_stays_a_number() -> None:
    retry = ResolvedRetry(times=100_000, delay=1, backoff=10, max_delay=60)
    assert all(0 <= wait <= 60 for wait in waits(retry, *[TransientError("x")] * 2_000))


@pytest.mark.parametrize("kind", [ErrorClass.AUTH, ErrorClass.BAD_REQUEST, ErrorClass.PERMANENT])
def test_what_cannot_pass_is_never_repeated(kind: ErrorClass) -> None:
    assert waits(ResolvedRetry(times=5), PermanentError("x", error_class=kind)) == []


def test_a_step_may_ask_for_a_kind_to_be_repeated_all_the_same() -> None:
    retry = ResolvedRetry(times=0, on={"auth": ResolvedClassRetry(times=2, delay=0)})
    denied = PermanentError("x", error_class=ErrorClass.AUTH)
    assert waits(retry, *[denied] * 5) == [0, 0]
    assert waits(retry, TransientError("x")) == []


def test_a_kind_with_its_own_count_uses_up_nobody_elses() -> None:
    retry = ResolvedRetry(times=2, delay=0, on={"rate_limit": ResolvedClassRetry(times=8)})
    assert len(waits(retry, *[RATE] * 20)) == 8
    assert len(waits(retry, *[RATE] * 8, *[TransientError("x"), TimeoutError(), TransientError("x")])) == 10


def test_bad_output_is_asked_again_without_a_wait() -> None:
    assert waits(ResolvedRetry(times=3, delay=60), *[BadOutput("x")] * 5) == [0, 0, 0]


def test_what_the_other_side_asked_for_is_waited_in_full_and_no_longer_than_the_limit() -> None:
    retry = ResolvedRetry(times=5, delay=2, max_delay=50)
    asked = [TransientError("x", error_class=ErrorClass.RATE_LIMIT, retry_after=30)] * 3
    assert all(30 <= wait <= 32 for wait in waits(retry, *asked))
    assert len(set(waits(retry, *asked))) == 3, "those sent away together do not come back together"
    assert waits(retry, TransientError("x", retry_after=86_400)) == [50]


async def failing(*errors: Exception) -> Any:
    left = list(errors)

    async def work() -> str:
        if left:
            raise left.pop(0)
        return "done"

    recorded = []

    async def record(attempt: int, error: BaseException, delay: float) -> None:
        recorded.append((attempt, str(error), delay))

    retry = ResolvedRetry(times=3, delay=0)
    return await with_retries(retry, work, record, rng=random.Random(1)), recorded


def test_every_attempt_is_recorded_before_the_next() -> None:
    answer, recorded = asyncio.run(failing(TransientError("one"), TransientError("two")))
    assert (answer, recorded) == ("done", [(1, "one", 0.0), (2, "two", 0.0)])


AUTOMATION = """
automation: tested
{budget}
steps:
  - id: work
    skill: retail.fail
    with: {{kind: {kind}}}
    retry: {{times: {times}, delay: 0.02s}}
"""
SKILL = source_of(__file__, "retrying")
pytestmark = pytest.mark.skills(retail=SKILL)


def retried(site: Site, run: str) -> list[Any]:
    return [event.data for event in site.services.log.read(run) if event.type == "step.retried"]


def test_both_lanes_repeat_the_same_way(site: Site) -> None:
    definition = site.definition(AUTOMATION.format(budget="", kind="overload", times=4))
    seen = []
    for lane in ("async", "worker"):
        site.services = dataclasses.replace(site.services, rng=random.Random(11))
        run = site.open(definition)
        assert site.step(run, "work", lane=lane).status == "failed"
        seen.append([(event["attempt"], event["class"], event["delay"]) for event in retried(site, run)])
    assert seen[0] == seen[1]
    assert [(attempt, kind) for attempt, kind, _ in seen[0]] == [(n, "overload") for n in (1, 2, 3, 4)]
    assert all(a != b for a, b in pairwise(delay for _, _, delay in seen[0]))


def test_a_skills_http_errors_are_told_apart(site: Site) -> None:
    for status, kinds in (("429", ["rate_limit"] * 2), ("503", ["overload"] * 2), ("401", []), ("400", [])):
        run = site.open(site.definition(AUTOMATION.format(budget="", kind=repr(status), times=2)))
        assert site.step(run, "work").status == "failed"
        assert [event["class"] for event in retried(site, run)] == kinds


def test_a_run_stops_repeating_when_its_budget_is_used_up(site: Site) -> None:
    definition = site.definition(AUTOMATION.format(budget="budget: {retries: 3}", kind="timeout", times=10))
    run = site.open(definition)
    outcome = site.step(run, "work")
    assert len(retried(site, run)) == 3
    assert outcome.reason == "The run has used all 3 retries of its budget; the last attempt failed: not now"
    site.step(run, "work", epoch=1)
    assert len(retried(site, run)) == 6, "a person's restart begins with a full budget"


def test_a_budget_without_retries_repeats_nothing(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION.format(budget="budget: {retries: 0}", kind="timeout", times=10)))
    assert site.step(run, "work").status == "failed"
    assert retried(site, run) == []


def test_processes_at_once_cannot_overspend_a_budget(site: Site) -> None:
    run = site.open(site.definition(AUTOMATION.format(budget="", kind="timeout", times=1)))

    async def one(number: int) -> bool:
        error = RecordedError(class_="X", message="x")
        said = StepRetried(step="work", index=number, epoch=0, attempt=1, error=error, class_="timeout", delay=0.0)
        try:
            await spend(site.services, WorkRef(run=run, step="work"), 10, said)
        except PermanentError:
            return False
        return True

    async def all_of_them() -> list[bool]:
        return await asyncio.gather(*(one(number) for number in range(25)))

    assert sum(site.do(all_of_them())) == 10
    assert len(retried(site, run)) == 10
