"""The one way out to Airflow: every value, error text and log line of a task passes here, and nothing else does it.

Airflow forgets nobody: what a task pushes, raises or logs stays in its database and its log files. Of a run that is
about somebody it is told structure only: how a task ended, counts, positions, the class of an error. Why is in the
run's own log, sealed.
"""

from __future__ import annotations

import functools
import json
import logging
import sys
import traceback
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TextIO, cast

import structlog
from airflow.sdk.exceptions import (
    AirflowFailException,
    AirflowRescheduleException,
    AirflowSensorTimeout,
    AirflowSkipException,
    DagRunTriggerException,
    DownstreamTasksSkipped,
)

from muster.errors import MusterError, PermanentError
from muster.events.sealing import WITHHELD, current_seals, may_be_about_somebody
from muster.execution import Outcome
from muster.failures import trace_below
from muster.redaction import redact, redact_data
from muster_airflow.storable import storable

if TYPE_CHECKING:
    from airflow.sdk import Context
    from airflow.sdk.types import RuntimeTaskInstanceProtocol
    from airflow.triggers.base import TaskFailedEvent


LARGEST = 48_000
"""Characters of JSON shown in the UI; longer outputs are shown by their shape, the log has them whole."""
LINE = "a line about somebody, which only the run's log may keep"
"""What stands for a log line that is written while work about somebody goes on."""
SIGNALS = (AirflowRescheduleException, DagRunTriggerException, DownstreamTasksSkipped)
"""What an operator raises to have Airflow do something: no text of it is kept."""

log = structlog.get_logger(__name__)
Execute = Callable[..., Any]


class Failed(Exception):
    """A failure that Airflow may repeat, in words that have passed here; its original error is left out."""


class Told(AirflowFailException):
    """A failure that Airflow must not repeat, in words that have passed here."""


def leaves(execute: Execute) -> Execute:
    """Decorates what Airflow calls of an operator, which gives back a value or an `Outcome`, or raises.

    Raises:
        AirflowSkipException: the outcome says so.
        Told: it failed for good, so that Airflow does not repeat it.
        Failed: it failed, and may be repeated.
    """

    @functools.wraps(execute)
    def leaving(operator: Any, *given: Any, **named: Any) -> Any:
        withhold_log_lines()
        context = _context_of(given, named)
        failure: Exception
        try:
            result = execute(operator, *given, **named)
        except SIGNALS:
            raise
        except Exception as error:
            failure = _failure(operator, context, error)
        else:
            return _given(result)
        # Raised outside of the handler: inside, Python would keep the original error as its context, and Airflow would
        # log the words of that one as well.
        raise failure from None

    return leaving


def _context_of(given: tuple[Any, ...], named: Mapping[str, Any]) -> Any:
    context = next((argument for argument in given if isinstance(argument, Mapping) and "ti" in argument), None)
    return named.get("context", context)


def _given(found: Any) -> Any:
    """The XCom of what an operator gives back."""
    if not isinstance(found, Outcome):
        return shown(found)
    if found.status == "skipped":
        raise AirflowSkipException(redact(str(found.reason)))
    if found.status == "failed":
        raise Told(redact(str(found.reason)))
    return shown(found.output)


def _failure(operator: Any, context: Any, error: Exception) -> Exception:
    """What to raise in place of an error: of its kind for Airflow, in words that may leave."""
    if isinstance(error, Told):
        # `_given` made it of an outcome, whose reason has been concealed already.
        return Told(redact(str(error)))
    about_somebody = _is_about_somebody(operator, context)
    text = text_of(error, about_somebody=about_somebody)
    if isinstance(error, AirflowSkipException):
        return AirflowSkipException(text)
    if not about_somebody and not isinstance(error, MusterError):
        note("error", "Where it failed", trace=trace_below(error, str(Path(__file__).parent)))
    for_good = isinstance(error, PermanentError | AirflowFailException | AirflowSensorTimeout)
    return Told(text) if for_good else Failed(text)


def _trace(error: BaseException) -> str:
    """Where an error comes from, with all that led to it; for `note`, which redacts it."""
    return "".join(traceback.format_exception(error))


def _is_about_somebody(operator: Any, context: Any) -> bool:
    """True if the run is about somebody, or if that cannot be found out: in doubt Airflow is told no details."""
    from muster.execution import run_id
    from muster_airflow.services import services_in_worker

    # Asked first, because the log of a run that is just being opened may have no event yet.
    definition = getattr(operator, "_definition", None)
    if definition is not None and definition.personal is not None:
        return True
    try:
        ti = context["ti"]
        return services_in_worker(context).log.subject(run_id(ti.dag_id, ti.run_id)) is not None
    except Exception:
        return True


def text_of(error: BaseException, *, about_somebody: bool) -> str:
    """An error in words for Airflow; of a run about somebody, its class and what cannot repeat anything."""
    if not about_somebody:
        return redact(str(error) if isinstance(error, MusterError) else f"{type(error).__name__}: {error}")
    # Only Muster's own words may leave, and only where they quote no data: those of a library may quote anything.
    plain = isinstance(error, MusterError) and not error.repeats_data
    return redact(str(error)) if plain else f"{type(error).__name__}: {WITHHELD}"


async def push_from_trigger(ti: RuntimeTaskInstanceProtocol, value: Any, *, mapped_length: int | None = None) -> None:
    """Push `value` as the task's return value.

    A trigger's own `xcoms` are encoded twice and record no map length, so this speaks the
    protocol that workers speak.
    """
    from airflow.sdk.execution_time.comms import SetXCom
    from airflow.sdk.execution_time.task_runner import SUPERVISOR_COMMS

    await SUPERVISOR_COMMS.asend(
        SetXCom(
            key="return_value",
            value=shown(value),
            dag_id=ti.dag_id,
            run_id=ti.run_id,
            task_id=ti.task_id,
            map_index=ti.map_index if ti.map_index is not None else -1,
            mapped_length=mapped_length,
        )
    )


def push(context: Context, key: str, value: str) -> None:
    """Push the name of something under a key of its own, from a task process."""
    context["ti"].xcom_push(key=key, value=value)


def hold_pushes(context: Context) -> None:
    """Drop what an operator of another class pushes from here on, because its run is about somebody."""
    # The task instance is a model; what stands in its `__dict__` hides the method of its class.
    vars(context["ti"])["xcom_push"] = lambda key, value, **more: None


def failed_event(error: BaseException, *, about_somebody: bool) -> TaskFailedEvent:
    """The event that ends a task whose work could not be recorded.

    For a trigger to yield: Airflow sends the task of a trigger that raises to a worker, only to fail there.
    """
    from airflow.triggers.base import TaskFailedEvent

    text = text_of(error, about_somebody=about_somebody)
    note("error", "The step's work could not be recorded", error=text if about_somebody else _trace(error))
    return TaskFailedEvent(xcoms={"muster_error": storable(text)})


def note(level: str, event: str, **values: Any) -> None:
    """Write a line of the task's log. Pass only Muster's own words, or values that have been concealed."""
    withhold_log_lines()
    getattr(log, level)(redact(event), **{name: redact(str(value)) for name, value in values.items()})


def shown(value: Any) -> Any:
    """`value` without secrets; if its JSON is longer than `LARGEST`, its kind and size instead.

    The log keeps what Airflow's database cannot store, and a task must not fail for it whose step has succeeded.
    """
    value = storable(redact_data(value))
    text = json.dumps(value)
    if len(text) <= LARGEST:
        return value
    kind = f"{len(value)} items" if isinstance(value, list | dict) else type(value).__name__
    return {"too_large_to_show": kind, "characters": len(text)}


def withhold_log_lines() -> None:
    """From now on nothing that is logged or printed in the middle of work about somebody reaches Airflow's logs.

    A skill, a library or an operator may log what it works with. Installed once in each process, and again where
    somebody has configured logging since. A thread that a skill or a library starts inherits no context, so nobody
    knows whose its lines are: they are withheld while any work about somebody goes on in the process.
    """
    processors = structlog.get_config()["processors"]
    if _in_structlog not in processors:
        # In place: loggers that are in use already hold this very list.
        processors.insert(0, _in_structlog)
    # On the handlers and not on the root logger: a filter of a logger does not see the records of the loggers below it.
    for handler in logging.getLogger().handlers:
        if _in_logging not in handler.filters:
            handler.addFilter(_in_logging)
    for name in ("stdout", "stderr"):
        if not isinstance(stream := getattr(sys, name), _Stream):
            setattr(sys, name, cast("TextIO", _Stream(stream)))


def _is_withheld() -> bool:
    # Withheld is a line of work about somebody, and a line of which nobody knows whose it is. A trigger is known:
    # Airflow binds `trigger_id` in its context, which a foreign thread lacks, and without seals the trigger works about
    # nobody.
    return may_be_about_somebody() and (
        current_seals() is not None or "trigger_id" not in structlog.contextvars.get_contextvars()
    )


def _in_structlog(logger: Any, method: str, event: Any) -> Any:
    if _is_withheld():
        return {"event": LINE}
    error = sys.exc_info()[1]
    if event.get("exc_info") is True and isinstance(error, Told | Failed):
        # They were made on the way out: their frames are Airflow's and Muster's, and where it failed has been said.
        event["exc_info"] = (type(error), error, None)
    return event


def _in_logging(record: logging.LogRecord) -> bool:
    if _is_withheld():
        record.msg, record.args, record.exc_info, record.exc_text, record.stack_info = LINE, (), None, None, None
    return True


class _Stream:
    """A stream that drops what is printed in the middle of work about somebody."""

    def __init__(self, stream: Any) -> None:
        self._stream = stream

    def write(self, text: Any) -> int:
        """Write, or say that it was."""
        return len(text) if _is_withheld() else self._stream.write(text)

    def writelines(self, lines: Iterable[Any]) -> None:
        """Write them all, or none."""
        for line in lines:
            self.write(line)

    def __getattr__(self, name: str) -> Any:
        attribute = getattr(self._stream, name)
        # `buffer` and `raw` take bytes, and would be a way past this filter.
        return _Stream(attribute) if name in ("buffer", "raw") else attribute
