"""Promises of the one way out to Airflow: nothing else tells it anything, and about somebody it tells structure."""

from __future__ import annotations

import ast
import json
import logging
import sys
import traceback
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import psycopg
import pytest
import structlog
from airflow.sdk.exceptions import (
    AirflowException,
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    DownstreamTasksSkipped,
    TaskDeferred,
)
from airflow.triggers.base import TaskFailedEvent

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.events.sealing import Seals, working_about
from muster.execution import concealed
from muster.execution.outcome import Outcome
from muster.execution.references import StepNotInScope
from muster.local.airflow import connection_json
from muster.redaction import learn
from muster_airflow import egress
from muster_airflow.egress import LINE, leaves
from support.runs import Site

FLOOR = Path(egress.__file__).parent
EXITS = {"xcom_push", "SetXCom", "AirflowFailException", "AirflowSkipException", "exception", "print"}
LOGGERS = {"log", "logger", "_log"}
LEVELS = {"debug", "info", "warning", "error", "critical"}
AUTOMATION = """
automation: tested
inputs: {who: {default: nobody}}
PERSONAL
steps:
  - {id: ask, human: {ask: "Pay {{ inputs.who }}?", assignees: [lead]}}
"""


def calls(path: Path) -> Iterator[tuple[int, str]]:
    """Line and name of every call that tells Airflow something."""
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        if isinstance(node.func, ast.Attribute):
            of = node.func.value
            name = of.attr if isinstance(of, ast.Attribute) else of.id if isinstance(of, ast.Name) else ""
            if node.func.attr in EXITS or (name in LOGGERS and node.func.attr in LEVELS):
                yield node.lineno, f"{name}.{node.func.attr}"
        elif isinstance(node.func, ast.Name) and (
            node.func.id in EXITS or (node.func.id == "TaskFailedEvent" and node.keywords)
        ):
            yield node.lineno, node.func.id


def test_nothing_else_tells_airflow_anything() -> None:
    tasks = [
        *FLOOR.glob("operators/**/*.py"),
        *FLOOR.glob("triggers/*.py"),
        FLOOR / "notifiers.py",
        FLOOR / "services.py",
    ]
    assert len(tasks) > 10
    assert [f"{path.name}:{line} {name}" for path in tasks for line, name in calls(path)] == []
    assert list(calls(FLOOR / "egress.py")), "the one that does is found"


def test_what_airflow_calls_of_an_operator_passes_through_it() -> None:
    found = {}
    for path in FLOOR.glob("operators/**/*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef) and node.name in ("execute", "execute_complete", "resume_execution"):
                found[f"{path.name}:{node.lineno}"] = [ast.unparse(each) for each in node.decorator_list]
    assert len(found) > 10
    assert {place: names for place, names in found.items() if names != ["leaves"]} == {}


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path / "project"))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    return Site(tmp_path, database)


def opened(site: Site, about: str | None) -> dict[str, Any]:
    """The context of a task of a run, about somebody or about nobody."""
    personal = "personal: {subject: '{{ inputs.who }}'}" if about else ""
    run = site.open(site.definition(AUTOMATION.replace("PERSONAL", personal)), who=about or "Jane")
    dag_id, _, run_id = run.partition("/")
    ti = SimpleNamespace(dag_id=dag_id, run_id=run_id, task_id="ask", map_index=-1)
    return {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC))}


class Operator:
    """Does as it is told."""

    def __init__(self, told: Any, came_from: Exception | None = None) -> None:
        self.told, self.came_from = told, came_from or KeyError("Jane Roe")

    @leaves
    def execute(self, context: Any) -> Any:
        """Raise, or give back."""
        if isinstance(self.told, BaseException):
            try:
                raise self.came_from
            except Exception as error:
                raise self.told from error
        return self.told


def everything(error: BaseException) -> str:
    """All that a log may print of an error, whatever it came from."""
    seen = []
    found: BaseException | None = error
    while found is not None:
        seen.append("".join(traceback.format_exception(found, chain=False)))
        found = found.__cause__ or found.__context__
    return "\n".join(seen)


@pytest.mark.parametrize(
    ("raised", "kind"),
    [
        (PermanentError("Jane Roe is unknown", remedy="ask Jane Roe"), AirflowFailException),
        (TransientError("Jane Roe does not answer"), egress.Failed),
        (ValueError("Jane Roe"), egress.Failed),
        (AirflowSkipException("Jane Roe"), AirflowSkipException),
        (AirflowFailException("Jane Roe"), AirflowFailException),
        (AirflowException("Jane Roe"), egress.Failed),
    ],
)
def test_what_an_operator_raises_about_somebody_leaves_without_words_and_without_its_cause(
    site: Site, raised: Exception, kind: type[Exception]
) -> None:
    with pytest.raises(kind) as caught:
        Operator(raised).execute(opened(site, "jane"))
    assert "Jane Roe" not in everything(caught.value)
    assert type(raised).__name__ in str(caught.value), "its class is structure"


def test_what_cannot_repeat_anything_is_told_in_words(site: Site) -> None:
    with pytest.raises(AirflowFailException, match="was not ordered"):
        Operator(StepNotInScope("Step a was not ordered.")).execute(opened(site, "jane"))


def test_where_nobody_can_say_whom_it_is_about_nothing_is_told(site: Site) -> None:
    operator = Operator(PermanentError("Jane Roe is unknown"))
    with pytest.raises(AirflowFailException) as caught:
        operator.execute({"ti": None})
    assert "Jane Roe" not in everything(caught.value)


def test_about_nobody_everything_is_told(site: Site) -> None:
    context = opened(site, None)
    with pytest.raises(AirflowFailException, match=r"Jane is unknown\. Ask\."):
        Operator(PermanentError("Jane is unknown.", remedy="Ask.")).execute(context)
    with pytest.raises(egress.Failed, match="ValueError: Jane"):
        Operator(ValueError("Jane")).execute(context)
    with pytest.raises(AirflowSkipException, match="when"):
        Operator(Outcome(status="skipped", reason="when")).execute(context)
    assert Operator(Outcome(status="succeeded", output={"a": 1})).execute(context) == {"a": 1}


SECRET = "Tr0ub4dor-egress-9317"


@pytest.mark.parametrize("about", [None, "jane"])
@pytest.mark.parametrize(
    ("raise_with", "kind"),
    [
        (PermanentError, AirflowFailException),
        (TransientError, egress.Failed),
        (ValueError, egress.Failed),
        (AirflowException, egress.Failed),
        (AirflowFailException, AirflowFailException),
        (AirflowSensorTimeout, AirflowFailException),
        (AirflowSkipException, AirflowSkipException),
        (egress.Told, AirflowFailException),
    ],
)
def test_no_error_takes_a_secret_along_whoever_it_is_about(
    site: Site,
    raise_with: type[Exception],
    kind: type[Exception],
    about: str | None,
    caplog: pytest.LogCaptureFixture,
    capsys: pytest.CaptureFixture[str],
) -> None:
    learn(SECRET)
    error = raise_with(f"401 for https://api/?of={SECRET}")
    error.add_note(f"the key was {SECRET}")
    operator = Operator(error, came_from=RuntimeError(SECRET))
    with pytest.raises(kind) as caught:
        operator.execute(opened(site, about))
    assert SECRET not in everything(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__context__ is None
    said = capsys.readouterr()
    assert SECRET not in caplog.text + said.out + said.err
    if about is None:
        assert "401 for https://api/" in str(caught.value)


@pytest.mark.parametrize("status", ["skipped", "failed"])
def test_no_outcome_takes_a_secret_along(site: Site, status: Any) -> None:
    learn(SECRET)
    with pytest.raises(AirflowException) as caught:
        Operator(Outcome(status=status, reason=f"for {SECRET}")).execute(opened(site, None))
    assert "for [redacted]" in str(caught.value)
    assert SECRET not in everything(caught.value)


def test_where_a_foreign_operator_failed_about_nobody_is_in_the_log_without_secrets(
    site: Site, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(SECRET)
    with pytest.raises(egress.Failed):
        Operator(ValueError("no answer"), came_from=RuntimeError(f"from {SECRET}")).execute(opened(site, None))
    said = capsys.readouterr().out
    assert "test_egress.py" in said
    assert "RuntimeError: from [redacted]" in said


@pytest.mark.parametrize("error", [egress.Told, egress.Failed])
def test_what_airflow_writes_of_a_failure_that_was_told_has_no_frames(
    error: type[Exception], capsys: pytest.CaptureFixture[str]
) -> None:
    egress.withhold_log_lines()
    for raised in (error("in words"), ValueError("by itself")):
        try:
            raise raised
        except Exception:
            structlog.get_logger("task").exception("Task failed with exception")
    told, others = capsys.readouterr().out.split("by itself")[0].split("in words")
    assert "raise raised" not in told
    assert "raise raised" in others


@pytest.mark.parametrize("about", [None, "jane"])
def test_what_an_operator_tells_airflow_to_do_is_left_as_it_is(site: Site, about: str | None) -> None:
    signals: list[BaseException] = [
        AirflowRescheduleException(datetime.now(UTC)),
        DownstreamTasksSkipped(tasks=["a"]),
        TaskDeferred(trigger=SimpleNamespace(), method_name="execute"),
    ]
    for signal in signals:
        with pytest.raises(type(signal)) as caught:
            Operator(signal).execute(opened(site, about))
        assert caught.value is signal


def test_no_line_of_a_tasks_log_takes_a_secret_along(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    """What a check says, for one, which its skill has written."""
    learn(SECRET)
    egress.note("warning", f"check books/it: it cannot be asked: {SECRET}", trace=f"at {SECRET}")
    said = capsys.readouterr()
    assert SECRET not in caplog.text + said.out + said.err
    assert "it cannot be asked: [redacted]" in caplog.text + said.out


def test_a_failure_that_cannot_be_recorded_takes_no_secret_along(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    learn(SECRET)
    event = egress.failed_event(ValueError(f"about nobody, with {SECRET}"), about_somebody=False)
    said = capsys.readouterr()
    assert SECRET not in str(event.xcoms) + caplog.text + said.out + said.err
    assert "about nobody, with [redacted]" in said.out


def test_of_a_persons_answer_airflow_is_told_who_and_what_and_never_the_note(site: Site) -> None:
    answer = {"approved": True, "by": "lead", "how": "person", "at": "now", "approvers": ["lead"], "note": "Jane Roe"}
    run = "tested/" + opened(site, "jane")["ti"].run_id
    told = site.do(concealed(site.services, run, "ask", Outcome(status="succeeded", output=answer)))
    assert told.output == {**answer, "note": {"$personal": "only in the log"}}


def test_a_failure_that_cannot_be_recorded_is_told_by_its_class() -> None:
    event = egress.failed_event(ValueError("Jane Roe"), about_somebody=True)
    assert isinstance(event, TaskFailedEvent)
    assert "Jane Roe" not in str(event.serialize() if hasattr(event, "serialize") else vars(event))
    assert "ValueError" in str(event.xcoms)


def test_whatever_is_logged_or_printed_in_the_middle_of_work_about_somebody_does_not_leave(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    egress.withhold_log_lines()
    logger = logging.getLogger("some.library")
    with working_about(Seals("s", None, "a/1")):
        logger.warning("calling %s", "Jane Roe")
        structlog.get_logger("some.skill").warning("calling", who="Jane Roe")
        print("Jane Roe")
    logger.warning("calling %s", "nobody")
    print("after")
    out = capsys.readouterr()
    assert "Jane Roe" not in caplog.text + out.out + out.err
    assert LINE in caplog.text
    assert "calling nobody" in caplog.text
    assert "after" in out.out


@pytest.mark.parametrize("name", ["stdout", "stderr"])
def test_no_way_of_printing_goes_past_what_is_withheld(capfd: pytest.CaptureFixture[str], name: str) -> None:
    egress.withhold_log_lines()
    stream = getattr(sys, name)

    def say(what: str) -> None:
        stream.writelines([f"{what} in lines\n"])
        stream.buffer.write(f"{what} in bytes\n".encode())
        stream.buffer.flush()
        getattr(stream.buffer, "raw", stream.buffer).write(f"{what} below\n".encode())
        stream.flush()

    with working_about(Seals("s", None, "a/1")):
        say("Jane Roe")
    say("nobody")
    out = "".join(capfd.readouterr())
    assert "Jane Roe" not in out
    assert all(f"nobody {how}" in out for how in ("in lines", "in bytes", "below"))


def test_a_thread_that_belongs_to_nobody_known_says_nothing_while_work_about_somebody_goes_on(
    caplog: pytest.LogCaptureFixture, capsys: pytest.CaptureFixture[str]
) -> None:
    egress.withhold_log_lines()

    def say(what: str) -> None:
        logging.getLogger("some.library").warning("calling %s", what)
        structlog.get_logger("some.skill").warning("calling", who=what)
        print(what)

    def of_another_run(what: str) -> None:
        with working_about(None):
            say(what)

    def of_another_trigger(what: str) -> None:
        with structlog.contextvars.bound_contextvars(trigger_id=7):
            say(what)

    with ThreadPoolExecutor(1) as older, working_about(Seals("s", None, "a/1")):
        older.submit(say, "Jane Roe").result()
        with working_about(Seals("t", None, "a/2")), ThreadPoolExecutor(1) as own:
            own.submit(say, "John Roe").result()
        older.submit(say, "Jane Roe again").result()
        older.submit(of_another_run, "nobody").result()
        older.submit(of_another_trigger, "no one").result()
    with ThreadPoolExecutor(1) as later:
        later.submit(say, "whoever").result()
    out = capsys.readouterr()
    assert "Roe" not in caplog.text + out.out + out.err
    assert [line for line in ("nobody", "no one", "whoever") if line in out.out.splitlines()] == [
        "nobody",
        "no one",
        "whoever",
    ]
    assert all(f"calling {who}" in caplog.text for who in ("nobody", "no one", "whoever"))


@pytest.mark.parametrize("value", ["torn \0", {"half \ud800": [{"a": "\udc00"}]}, ("\ud83d\ude00 \0",)])
def test_airflows_database_can_store_whatever_a_step_gave_back(dsn: str, value: object) -> None:
    with psycopg.connect(dsn) as connection:
        (stored,) = connection.execute("SELECT %s::text::jsonb", [json.dumps(egress.shown(value))]).fetchone() or ()
    assert stored == json.loads(json.dumps(egress.shown(value)))
    assert "\ufffd" in str(stored)
    assert egress.shown({"a": ["\U0001f600", 1, None]}) == {"a": ["\U0001f600", 1, None]}
