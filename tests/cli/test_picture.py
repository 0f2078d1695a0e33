"""The picture of a run names its items, and tells an approval from a rejection."""

from __future__ import annotations

import pytest
from rich.console import Console

from muster.cli.run_chart import MARKS, result
from muster.database import Database
from muster.events.event_summary import event_summary
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.events.queries import Queries, answered

RUN = "bills/monday"


@pytest.fixture
def queries(database: Database) -> Queries:
    """A run over two files: one is approved, the other rejected."""
    files = ["file:///in/a%20bill.xml", "file:///in/b.pdf"]
    facts = [(EventType.RUN_OPENED, {"automation": "bills", "inputs": {"files": files, "limit": 2}})]
    facts += [(EventType.STEP_EXPANDED, {"step": "ask", "length": 2, "indices": [0, 1]})]
    for index, approved in ((0, True), (1, False)):
        item = {"step": "ask", "index": index}
        answer = item | {"approved": approved, "by": "ada", "note": None if approved else "[not] ordered"}
        facts += [
            (EventType.STEP_STARTED, item | {"kind": "human"}),
            (EventType.APPROVAL_ANSWERED, answer),
            (EventType.STEP_SUCCEEDED, item | {"output": {}, "produced_by": "person:ada"}),
        ]
    EventLog(database).append(RUN, [NewEvent(type=type_, data=data) for type_, data in facts])
    return Queries(database)


def printed(queries: Queries) -> list[str]:
    console = Console(width=120, record=True, file=None, quiet=False)
    with console.capture() as capture:
        console.print(result(queries.steps(RUN), queries.timeline(RUN)))
    return capture.get().splitlines()


def test_items_are_named_by_their_files_and_show_who_decided_what_and_why(queries: Queries) -> None:
    lines = printed(queries)
    [first] = [line for line in lines if "a bill.xml" in line]
    [second] = [line for line in lines if "b.pdf" in line]
    assert MARKS["approved"][0] in first
    assert "approved by ada" in first
    assert MARKS["rejected"][0] in second
    assert "rejected by ada: [not] ordered" in second


def test_a_fan_out_of_approvals_counts_both_answers_and_looks_ended(queries: Queries) -> None:
    [line] = [line for line in printed(queries) if "1 approved, 1 rejected of 2" in line]
    assert line.split()[:3] == [MARKS["approved"][0], "ask", "human"]


def test_only_what_was_answered_is_called_so(queries: Queries) -> None:
    events = [event for event in queries.timeline(RUN) if event.type != EventType.APPROVAL_ANSWERED]
    assert {row.status for row in answered(queries.steps(RUN), events) if row.index >= 0} == {"succeeded"}


def test_a_step_at_work_has_the_mark_that_is_explained_below(queries: Queries, database: Database) -> None:
    EventLog(database).append(
        RUN, [NewEvent(type=EventType.STEP_STARTED, data={"step": "report", "index": None, "kind": "skill"})]
    )
    [line] = [line for line in printed(queries) if "report" in line]
    assert line.split() == [MARKS["running"][0], "report", "skill", "at", "work"]
    assert f"{MARKS['running'][0]} at work" in printed(queries)[-1]


def test_a_failure_is_told_with_what_to_do_about_it(queries: Queries, database: Database) -> None:
    error = {"class": "PermanentError", "message": "There is no price.", "remedy": "Add it to PRICES."}
    failed = NewEvent(type=EventType.STEP_FAILED, data={"step": "price", "index": None, "error": error})
    EventLog(database).append(RUN, [failed])
    assert event_summary(queries.timeline(RUN)[-1]) == "There is no price. · Add it to PRICES."


def test_what_was_undone_is_told_from_what_has_not_begun(queries: Queries, database: Database) -> None:
    undone = [NewEvent(type=EventType.COMPENSATION_SUCCEEDED, data={"step": "ask", "index": index}) for index in (0, 1)]
    EventLog(database).append(RUN, undone)
    [line] = [line for line in printed(queries) if "2 undone of 2" in line]
    assert line.split()[:3] == [MARKS["undone"][0], "ask", "human"]
    assert f"{MARKS['undone'][0]} undone" in "\n".join(printed(queries))
