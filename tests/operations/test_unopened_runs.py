"""Runs that Airflow does not come to open: the next try of their first task was put off by a wrong clock."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from support.reconciled import LATER, SKILLS, UNDONE, FakeAirflow, found, told
from support.runs import Site

pytestmark = pytest.mark.skills(depot=SKILLS)

NOW = timedelta(0)


def putting_off(failed: timedelta, state: str | None = "running", run: str = "a/r") -> FakeAirflow:
    """Airflow with a run whose first task ended that long after now, and waits for its next try."""
    airflow = FakeAirflow(state, tasks={"open": "up_for_retry"})
    dag_id, _, run_id = run.partition("/")
    airflow.put_off = {(dag_id, run_id): datetime.now(UTC) + failed}
    return airflow


@pytest.mark.parametrize("state", ["running", "queued"])
@pytest.mark.parametrize("failed", [timedelta(seconds=4000), -LATER])
def test_a_run_whose_opening_a_wrong_clock_has_put_off_is_opened_at_once(
    site: Site, failed: timedelta, state: str
) -> None:
    airflow = putting_off(failed, state)
    (seen,) = found(site, airflow, later=NOW, mend=False)
    assert (seen.kind, seen.subject, seen.mended, airflow.cleared) == ("run", "a/r", False, [])
    assert "clear the task open of a, r in Airflow" in seen.remedy
    (mended,) = found(site, airflow, later=NOW)
    assert (mended.mended, airflow.cleared, airflow.restarted) == (True, [["open"]], [])
    assert f"{state} in Airflow and not in the log" in mended.message
    assert told(site) == []
    assert site.services.log.version("a/r") == 0, "the run itself writes its first event"


def test_airflow_may_need_a_while_between_two_tries(site: Site) -> None:
    for failed in (timedelta(minutes=-2), timedelta(seconds=30)):
        assert found(site, putting_off(failed), later=NOW, quiet=NOW) == []


def test_one_that_the_log_knows_is_left_to_what_its_log_says(site: Site) -> None:
    run = site.open(site.definition(UNDONE))
    (one,) = found(site, putting_off(LATER * 2, run=run), later=LATER)
    assert (one.kind, one.message.partition(" is ")[0]) == ("task", "open")


@pytest.mark.parametrize("state", ["failed", "success", None])
def test_one_that_has_ended_in_airflow_stays_so(site: Site, state: str | None) -> None:
    airflow = putting_off(LATER, state)
    assert found(site, airflow, later=NOW) == []
    assert airflow.cleared == []


@pytest.mark.parametrize("refuses", [True, False])
def test_of_one_that_airflow_does_not_clear_people_are_told_once(site: Site, refuses: bool) -> None:
    airflow = putting_off(LATER)
    airflow.refuses, airflow.clears = refuses, False
    for _ in range(2):
        (left,) = found(site, airflow, later=NOW)
        assert (left.mended, "clear the task open" in left.remedy) == (False, True)
        assert ("Airflow did not perform it again" in left.message) == refuses
        assert [target for target, _ in told(site)] == ["#incidents"]
