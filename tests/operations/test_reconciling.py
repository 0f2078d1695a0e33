"""What the reconciler finds, mends and leaves alone."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.operations.reconciling import Disagreement, reconcile
from support.runs import Site

AUTOMATION = "automation: a\nsteps:\n  - {id: b, notify: [{slack: '#x', text: y}]}\n"
LATER = timedelta(hours=1)


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    return Site(tmp_path, database)


def found(site: Site, state: str | None, *, later: timedelta = LATER, **how: Any) -> list[Disagreement]:
    return reconcile(site.services.database, lambda dag_id, run_id: state, datetime.now(UTC) + later, **how)


@pytest.mark.parametrize("state", ["failed", "success", None])
def test_a_run_that_ended_in_airflow_without_a_word_is_closed_once(site: Site, state: str | None) -> None:
    run = site.open(site.definition(AUTOMATION))
    (seen,) = found(site, state, mend=False)
    assert (seen.subject, seen.mended, site.state(run).status) == (run, False, "open")
    (mended,) = found(site, state)
    assert mended.mended
    assert site.services.queries.run(run).status == "failed"
    assert "open in the log, and Airflow" in site.state(run).reason
    assert found(site, state) == []
    assert site.services.log.verify(run) is None


@pytest.mark.parametrize(("state", "later"), [("running", LATER), ("queued", LATER), ("failed", timedelta(minutes=1))])
def test_a_run_that_goes_on_or_ended_just_now_is_left_alone(site: Site, state: str, later: timedelta) -> None:
    run = site.open(site.definition(AUTOMATION))
    assert found(site, state, later=later) == []
    assert site.state(run).status == "open"


def test_what_only_a_person_can_mend_is_reported(site: Site, database: Database) -> None:
    with database.connection() as connection:
        connection.execute(
            "INSERT INTO outbox (key, channel, target, text, status, error)"
            " VALUES ('k', 'slack', '#ops', 'hello', 'failed', 'gone')"
        )
    (notice,) = found(site, None)
    assert (notice.kind, notice.subject, notice.mended) == ("notice", "k", False)
    assert "#ops: gone" in notice.message
