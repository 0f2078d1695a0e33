"""Runs are listed and shown from the log."""

from __future__ import annotations

import os
import pty
from contextlib import redirect_stdout, suppress
from pathlib import Path

import pytest

from muster.cli.approvals import position
from muster.cli.outputs import print_output
from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from support.command import Muster, imported_by, read

RUN = "bills/monday"
INPUTS = {"files": [f"file:///inbox/{name}.xml" for name in "abc"]}


@pytest.fixture(autouse=True)
def log(database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch, project: Path) -> EventLog:
    """A run of three items: one done, one set aside, one skipped, and a second run that is open."""
    monkeypatch.setenv("MUSTER_DSN", dsn)
    log = EventLog(database)
    opening = {
        "automation": "bills",
        "definition": "d" * 64,
        "bundle_version": "b1",
        "inputs": INPUTS,
        "trigger": "manual",
    }
    opening |= {"requested_by": "ada", "dag_id": "bills", "dag_run_id": "monday"}
    finding = {"rule": "BR-CO-10", "message": "3 + 4 is not 8", "severity": "error", "path": None}
    counts = {"succeeded": 1, "failed": 0, "skipped": 1, "set_aside": 1}
    facts = [
        (EventType.RUN_OPENED, opening),
        (EventType.STEP_EXPANDED, {"step": "read", "length": 3, "indices": [0, 2]}),
        (EventType.STEP_SKIPPED, {"step": "read", "index": 1, "reason": "when"}),
        (EventType.STEP_STARTED, started(0)),
        (EventType.STEP_SUCCEEDED, {"step": "read", "index": 0, "output": 1, "produced_by": "skill:x.y"}),
        (EventType.STEP_STARTED, started(2)),
        (EventType.STEP_SET_ASIDE, {"step": "read", "index": 2, "item": "c.xml", "findings": [finding]}),
        (EventType.RUN_CLOSED, {"status": "succeeded", "reason": None, "counts": counts, "cost": "0.0042"}),
    ]
    log.append(RUN, [NewEvent(type=type_, data=data) for type_, data in facts])
    log.append("bills/tuesday", [NewEvent(type=EventType.RUN_OPENED, data=opening | {"dag_run_id": "tuesday"})])
    return log


def started(index: int) -> dict[str, object]:
    """The data of `step.started`."""
    return {"step": "read", "index": index, "kind": "skill", "lane": "worker", "attempt": 1}


def test_runs_are_listed_and_filtered(muster: Muster) -> None:
    assert {row["id"] for row in read(muster("runs", "--json"))} == {RUN, "bills/tuesday"}
    [row] = read(muster("runs", "--status", "open", "--json"))
    assert row["id"] == "bills/tuesday"
    assert read(muster("runs", "--automation", "other", "--json")) == []


def test_a_status_that_there_is_not_is_refused_and_none_is_not_no_runs_yet(muster: Muster) -> None:
    refused = muster("runs", "--status", "foo")
    assert refused.exit_code == 2
    assert "'foo' is not one of" in refused.output
    assert "There are no runs of that kind." in muster("runs", "--status", "stuck").stdout


def test_what_a_step_gave_back_is_printed_and_of_a_text_nothing_else(muster: Muster, log: EventLog) -> None:
    opened = {"automation": "bills", "definition": "d" * 64, "inputs": {}, "dag_id": "bills", "dag_run_id": "said"}
    facts = [(EventType.RUN_OPENED, opened)]
    for step, given in (("text", "two\nlines"), ("amount", {"total": "12.30"}), ("nothing", None)):
        facts.append((EventType.STEP_STARTED, {**started(0), "step": step, "index": None}))
        facts.append((EventType.STEP_SUCCEEDED, {"step": step, "index": None, "output": given}))
    facts.append((EventType.STEP_STARTED, {**started(0), "step": "open", "index": None}))
    log.append("bills/said", [NewEvent(type=type_, data=data) for type_, data in facts])
    assert muster("output", "said", "text").stdout == "two\nlines\n"
    assert read(muster("output", "said", "text", "--json")) == "two\nlines"
    assert read(muster("output", "said", "amount")) == {"total": "12.30"}
    assert read(muster("output", "said")) == {"text": "two\nlines", "amount": {"total": "12.30"}, "nothing": None}
    assert read(muster("output", "monday", "read")) == [1, None, None]


def test_what_a_step_gave_back_commands_no_terminal(muster: Muster, log: EventLog) -> None:
    facts = [(EventType.RUN_OPENED, {"automation": "bills"})]
    facts.append((EventType.STEP_STARTED, {**started(0), "step": "text", "index": None}))
    facts.append((EventType.STEP_SUCCEEDED, {"step": "text", "index": None, "output": "\x1b[31mred\x9b2J\x07\nö\tend"}))
    log.append("bills/odd", [NewEvent(type=type_, data=data) for type_, data in facts])
    assert muster("output", "odd", "text").stdout == "\x1b[31mred\x9b2J\x07\nö\tend\n"
    reader, terminal = pty.openpty()
    with os.fdopen(terminal, "w", encoding="utf-8") as screen, redirect_stdout(screen):
        print_output("odd", "text", as_json=False)
        print_output("odd", "text", as_json=True)
    shown = b""
    with suppress(OSError):  # So a terminal says that nobody writes to it any more.
        while part := os.read(reader, 1000):
            shown += part
    os.close(reader)
    assert shown.decode().replace("\r\n", "\n") == '[31mred2J\nö\tend\n"\\u001b[31mred2J\\u0007\\nö\\tend"\n'


@pytest.mark.parametrize("command", ["show", "output", "audit"])
def test_a_run_about_nobody_is_read_without_what_reads_automations(project: Path, dsn: str, command: str) -> None:
    imported = imported_by([command, "monday"], project=project, dsn=dsn)
    assert imported & {"airflow", "jinja2", "jsonschema", "yaml", "httpx", "muster.language.kinds"} == set()


def test_where_nothing_is_checked_nothing_is_said_to_hold(muster: Muster) -> None:
    assert muster("check").stdout == "No automation declares checks.\n"


@pytest.mark.parametrize(("step", "said"), [("opn", "Did you mean `open`?"), ("open", "it is running")])
def test_a_step_that_gave_nothing_back_says_so(muster: Muster, log: EventLog, step: str, said: str) -> None:
    facts = [(EventType.RUN_OPENED, {"automation": "bills"})]
    facts.append((EventType.STEP_STARTED, {**started(0), "step": "open", "index": None}))
    log.append("bills/at_work", [NewEvent(type=type_, data=data) for type_, data in facts])
    refused = muster("output", "at_work", step)
    assert refused.exit_code == 1
    assert said in refused.output


def test_a_run_has_its_whole_name_in_a_narrow_list(
    muster: Muster, log: EventLog, monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "bills/scheduled__2026-11-23T01:43:00+00:00"
    log.append(name, [NewEvent(type=EventType.RUN_OPENED, data={"automation": "bills"})])
    monkeypatch.setenv("COLUMNS", "80")
    lines = muster("runs", "--limit", "1").stdout.splitlines()
    assert "".join(line.split()[0] for line in lines[1:-1]).startswith(name)


def test_a_run_is_shown_with_its_version_its_events_and_its_items(muster: Muster) -> None:
    shown = muster("show", "monday")
    assert shown.exit_code == 0, shown.output
    for said in (
        "dddddddddddd",
        "bundle b1",
        "run.opened",
        "step.set_aside",
        "BR-CO-10: 3 + 4 is not 8",
        "a.xml",
        "ada",
    ):
        assert said in shown.stdout, said


def test_machines_get_the_whole_timeline_in_order(muster: Muster) -> None:
    told = read(muster("show", RUN, "--json"))
    assert [event["version"] for event in told["events"]] == list(range(1, 9))
    assert told["run"]["status"] == "succeeded"
    assert {(step["step"], step["index"]): step["status"] for step in told["steps"]}["read", 2] == "set_aside"


def test_a_run_that_is_not_there_is_said(muster: Muster) -> None:
    result = muster("show", "friday")
    assert result.exit_code == 1
    assert "friday" in result.stderr


def test_text_of_a_document_is_never_read_as_markup(muster: Muster, log: EventLog) -> None:
    evil = "[bold red]gotcha[/bold red] [link=http://evil]x[/link]"
    log.append("bills/tuesday", [NewEvent(type=EventType.STEP_FAILED, data={"step": "s", "error": {"message": evil}})])
    assert evil in muster("show", "tuesday").stdout


def test_an_approval_is_named_by_the_item_it_is_about_not_by_its_task(log: EventLog) -> None:
    events = list(log.read(RUN))
    assert [position(events, "read", slot) for slot in (0, 1)] == [0, 2]
    assert position(events, "read", -1) is None


def test_calls_without_a_price_are_said_and_never_shown_as_nothing(muster: Muster, log: EventLog) -> None:
    def called(step: str, cost: str | None) -> NewEvent:
        data = {"step": step, "index": None, "agent": "clerk", "model": "own", "cost": cost, "failed": []}
        return NewEvent(type=EventType.MODEL_CALLED, data=data)

    log.append("bills/tuesday", [called("code", None)])
    assert "1 call, unknown, 1 call unpriced" in muster("show", "tuesday").stdout
    log.append("bills/tuesday", [called("code", "0.25"), called("tell", None)])
    for command in ("show", "replay"):
        assert "3 calls, at least $0.25, 2 calls unpriced" in muster(command, "tuesday").stdout, command
    by_id = {row["id"]: row["unpriced_calls"] for row in read(muster("runs", "--json"))}
    assert by_id == {RUN: 0, "bills/tuesday": 2}
    assert read(muster("show", "tuesday", "--json"))["run"]["unpriced_calls"] == 2
    log.append(RUN, [called("code", "0.5")])
    assert "1 call, $0.5" in muster("show", "monday").stdout


def test_a_run_is_shown_with_what_its_steps_gave_back_in_short_and_what_its_agents_used(
    muster: Muster, log: EventLog
) -> None:
    def called(cost: str | None) -> NewEvent:
        usage = {"input_tokens": 1200, "output_tokens": 30}
        data = {"step": "sort", "index": None, "agent": "clerk", "model": "own", "cost": cost, "usage": usage}
        return NewEvent(type=EventType.MODEL_CALLED, data=data | {"failed": []})

    tool = {"step": "sort", "index": None, "agent": "clerk", "tool": "finance.find", "arguments": {}}
    ended = {"step": "sort", "index": None, "output": "[red]" + "x" * 500}
    log.append("bills/tuesday", [NewEvent(type=EventType.STEP_STARTED, data=started(0) | {"step": "sort"})])
    log.append("bills/tuesday", [called("0.25"), NewEvent(type=EventType.TOOL_CALLED, data=tool), called(None)])
    log.append("bills/tuesday", [NewEvent(type=EventType.STEP_SUCCEEDED, data=ended)])
    shown = muster("show", "tuesday").stdout
    assert "2 calls, at least $0.25, 1 call unpriced" in shown
    assert "2400 in, 60 out" in shown
    assert "finance.find" in shown
    assert "[red]xxx" in shown
    assert "x" * 200 not in shown
    told = read(muster("show", "tuesday", "--json"))
    assert told["outputs"] == {"sort": ended["output"]}
    assert told["used"]["sort"]["tools"] == {"finance.find": 1}
    assert (told["used"]["sort"]["cost_usd"], told["used"]["sort"]["unpriced"]) == ("0.25", 1)


def test_of_calls_without_a_price_the_cost_of_the_step_is_unknown(muster: Muster, log: EventLog) -> None:
    data = {"step": "sort", "index": None, "agent": "clerk", "model": "own", "cost": None, "failed": []}
    log.append("bills/tuesday", [NewEvent(type=EventType.MODEL_CALLED, data=data)])
    [line] = [line for line in muster("show", "tuesday").stdout.splitlines() if line.split()[:2] == ["sort", "1"]]
    assert "1 call, unknown" in line
    assert "$0" not in line
