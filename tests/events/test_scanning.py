"""The whole log is folded in one pass, to what each stream alone gives."""

from __future__ import annotations

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.events import scanning
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.scanning import scan, states
from muster.events.state import fold
from support.run_events import step, whole_run


@pytest.fixture(autouse=True)
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(scanning, "CHUNK", 7)


def test_every_stream_s_state_is_the_fold_of_its_events(log: EventLog, database: Database) -> None:
    for number in range(5):
        log.append(f"r/{number}", whole_run())
    log.append("r/3", [step(T.STEP_SUCCEEDED, "large", output="x" * 70_000, reason="\ud800")])
    log.append("z", [step(T.STEP_SUCCEEDED, "looks", output={"$object": "like a reference"}, note='"$object"')])
    assert list(states(database)) == [fold(log.read(stream)) for stream in log.streams()]
    facts = [(fact.stream, fact.version, fact.type, fact.actor, fact.at, fact.data) for fact in scan(database)]
    assert facts == [
        (event.stream, event.version, event.type, event.actor, event.at, event.data)
        for stream in log.streams()
        for event in log.read(stream)
    ]


def test_an_empty_log_has_no_states(database: Database) -> None:
    assert list(states(database)) == []


def test_a_scan_sees_the_moment_it_began_and_may_be_left_early(log: EventLog, database: Database) -> None:
    for number in range(20):
        log.append(f"r/{number:02}", whole_run())
    pass_ = states(database)
    first = next(pass_)
    log.append("r/19", [step(T.STEP_SKIPPED, "late", reason="when")])
    assert (first.id, sum(state.version for state in pass_)) == ("r/00", 19 * 21)
    begun = states(database)
    next(begun)
    begun.close()
    assert len(list(states(database))) == 20


def test_a_database_that_goes_away_is_said_to_be_lost(log: EventLog, dsn: str) -> None:
    for number in range(200):
        log.append(f"r/{number}", whole_run())
    other = Database(dsn, max_size=1)
    with pytest.raises(TransientError):  # noqa: PT012 - it is lost between two states
        for _ in states(other):
            with log.database.connection() as connection:
                connection.execute(
                    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                    " WHERE datname = current_database() AND pid <> pg_backend_pid()"
                )
    other.close()
