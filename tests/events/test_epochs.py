"""Work that a person had done again: what the later epoch says stands."""

from __future__ import annotations

import psycopg

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.model import NewEvent
from muster.events.rebuild import rebuild
from muster.events.state import fold
from support.run_events import opened


def ended(type: T, epoch: int, index: int | None = None, **data: object) -> NewEvent:
    place = "" if index is None else index
    return NewEvent(
        type=type, key=f"a[{place}]/ended@{epoch}", data={"step": "a", "index": index, "epoch": epoch, **data}
    )


def test_a_later_epoch_s_outcome_stands_and_an_earlier_one_s_repetition_changes_nothing(
    log: EventLog, dsn: str, database: Database
) -> None:
    first = ended(T.STEP_FAILED, 0, error={"class": "X", "message": "no", "remedy": None})
    log.append("r", [opened(), first])
    log.append("r", [NewEvent(type=T.STEP_STARTED, data={"step": "a", "index": None, "attempt": 1, "epoch": 1})])
    log.append("r", [ended(T.STEP_SUCCEEDED, 1, output="yes", produced_by="desk.do")])
    assert log.append("r", [first])[0].version == 2

    work = fold(log.read("r")).step("a").whole
    assert (work.status, work.output, work.error) == ("succeeded", "yes", None)
    shown = "SELECT status, produced_by, error, attempt FROM steps"
    with psycopg.connect(dsn, autocommit=True) as connection:
        assert connection.execute(shown).fetchall() == [("succeeded", "desk.do", None, 1)]
        rebuild(database)
        assert connection.execute(shown).fetchall() == [("succeeded", "desk.do", None, 1)]


def test_a_fan_out_laid_out_again_has_the_length_and_outputs_of_the_later_epoch(log: EventLog) -> None:
    def expanded(epoch: int, length: int, indices: list[int]) -> NewEvent:
        data = {"step": "a", "length": length, "indices": indices, "epoch": epoch}
        return NewEvent(type=T.STEP_EXPANDED, key=f"a/expanded@{epoch}", data=data)

    log.append("r", [opened(), expanded(0, 2, [0, 1]), ended(T.STEP_SUCCEEDED, 0, 0, output="old")])
    log.append("r", [ended(T.STEP_SET_ASIDE, 0, 1), expanded(1, 3, [0, 2])])
    log.append("r", [ended(T.STEP_SUCCEEDED, 1, 0, output="new"), ended(T.STEP_SUCCEEDED, 1, 2, output="more")])

    state = fold(log.read("r")).step("a")
    assert (state.output, state.status) == (["new", None, "more"], "succeeded")
