"""Promises of telling failures apart: by Muster's own word, by HTTP status, by what timed out; and of `Retry-After`."""

from __future__ import annotations

import sqlite3
import urllib.error
from datetime import UTC, datetime, timedelta
from email.message import Message
from email.utils import format_datetime

import httpx
import psycopg
import pytest
import sqlalchemy.exc

from muster.agents.errors import BadOutput
from muster.errors import BudgetExceeded, ErrorClass, MusterError, PermanentError, SetAside, TransientError
from muster.failures import asked_to_wait, class_of_status, classify, parse_retry_after

NOW = datetime(2026, 3, 1, 12, tzinfo=UTC)


def answered(status: int, **headers: str) -> httpx.HTTPStatusError:
    request = httpx.Request("GET", "http://127.0.0.1/")
    response = httpx.Response(status, headers=headers, request=request)
    return httpx.HTTPStatusError(f"answered {status}", request=request, response=response)


def of_driver(module: str) -> type[Exception]:
    """A class of PEP 249 as a driver that is not installed here has it."""
    base = type("DatabaseError", (Exception,), {"__module__": module})
    return type("ProgrammingError", (base,), {"__module__": module})


def snowflake(sqlstate: str) -> Exception:
    """What its driver raises, also of a statement that was cancelled."""
    error = of_driver("snowflake.connector.errors")("it was not done")
    error.sqlstate = sqlstate  # type: ignore[attr-defined]
    return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (TransientError("x"), ErrorClass.TRANSIENT),
        (TransientError("x", error_class=ErrorClass.OVERLOAD), ErrorClass.OVERLOAD),
        (PermanentError("x"), ErrorClass.PERMANENT),
        (SetAside("x"), ErrorClass.PERMANENT),
        (BudgetExceeded("x"), ErrorClass.PERMANENT),
        (BadOutput("x"), ErrorClass.BAD_OUTPUT),
        (answered(429), ErrorClass.RATE_LIMIT),
        (answered(503), ErrorClass.OVERLOAD),
        (answered(401), ErrorClass.AUTH),
        (answered(404), ErrorClass.BAD_REQUEST),
        (httpx.ReadTimeout("slow"), ErrorClass.TIMEOUT),
        (httpx.ConnectError("refused"), ErrorClass.TRANSIENT),
        (TimeoutError(), ErrorClass.TIMEOUT),
        (urllib.error.HTTPError("http://x", 429, "slow down", Message(), None), ErrorClass.RATE_LIMIT),
        (psycopg.errors.UndefinedTable("no such table"), ErrorClass.BAD_REQUEST),
        (psycopg.errors.NumericValueOutOfRange("too large"), ErrorClass.BAD_REQUEST),
        (psycopg.errors.SerializationFailure("again, please"), ErrorClass.TRANSIENT),
        (psycopg.errors.ForeignKeyViolation("it is not there yet"), ErrorClass.TRANSIENT),
        (psycopg.OperationalError("the connection is lost"), ErrorClass.TRANSIENT),
        (sqlite3.ProgrammingError("wrong number of values"), ErrorClass.BAD_REQUEST),
        (sqlalchemy.exc.ProgrammingError("SELEC 1", {}, psycopg.errors.SyntaxError()), ErrorClass.BAD_REQUEST),
        (sqlalchemy.exc.ProgrammingError("x", {}, snowflake("57014")), ErrorClass.TRANSIENT),
        (snowflake("57014"), ErrorClass.TRANSIENT),
        (snowflake("42S02"), ErrorClass.BAD_REQUEST),
        (psycopg.ProgrammingError("the query has 1 placeholder but 0 parameters"), ErrorClass.BAD_REQUEST),
        (of_driver("pyodbc")("42000", "Database 'shop' is not currently available"), ErrorClass.TRANSIENT),
        (of_driver("pymysql.err")(1064, "You have an error in your SQL syntax"), ErrorClass.BAD_REQUEST),
        (ValueError("anything else"), ErrorClass.TRANSIENT),
        (KeyboardInterrupt(), ErrorClass.PERMANENT),
    ],
)
def test_an_error_of_any_origin_has_one_kind(error: BaseException, kind: ErrorClass) -> None:
    assert classify(error) == kind


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, "bad_request"),
        (403, "auth"),
        (408, "timeout"),
        (409, "transient"),
        (422, "bad_request"),
        (500, "transient"),
        (501, "bad_request"),
        (502, "overload"),
        (504, "timeout"),
        (529, "overload"),
        (599, "transient"),
    ],
)
def test_a_status_says_what_kind_of_failure_it_is(status: int, kind: str) -> None:
    assert class_of_status(status) == kind


@pytest.mark.parametrize(
    ("header", "seconds"),
    [
        ("30", 30.0),
        ("0.5", 0.5),
        ("-4", 0.0),
        (format_datetime(NOW + timedelta(seconds=90), usegmt=True), 90.0),
        (format_datetime(NOW - timedelta(hours=1), usegmt=True), 0.0),
        ("soon", None),
        ("nan", None),
        ("inf", None),
        ("", None),
        (None, None),
    ],
)
def test_a_retry_after_is_seconds_or_a_date(header: str | None, seconds: float | None) -> None:
    assert parse_retry_after(header, NOW) == seconds


def test_what_the_other_side_asked_for_is_found_wherever_it_stands() -> None:
    assert asked_to_wait(TransientError("x", retry_after=7)) == 7
    assert asked_to_wait(answered(429, **{"Retry-After": "12"})) == 12
    later = format_datetime(NOW + timedelta(seconds=45), usegmt=True)
    assert asked_to_wait(answered(503, **{"retry-after": later}), NOW) == 45
    headers = Message()
    headers["Retry-After"] = "3"
    assert asked_to_wait(urllib.error.HTTPError("http://x", 429, "slow down", headers, None)) == 3
    assert asked_to_wait(ValueError("x")) is None


@pytest.mark.parametrize(
    ("said", "told"), [("It broke..", "It broke."), ("And so on...", "And so on..."), ("a.b", "a.b")]
)
def test_a_sentence_that_repeats_a_sentence_ends_once(said: str, told: str) -> None:
    assert str(MusterError(said)) == told


def test_a_message_that_ends_with_a_sentence_of_another_error_has_one_period() -> None:
    inner = MusterError("The folder is gone.", remedy="Make it again.")
    for said in (inner.message, str(inner), "the folder is gone"):
        assert not str(PermanentError(f"It cannot be read: {said}.")).endswith("..")
    assert MusterError("It goes on ...").message == "It goes on ..."
