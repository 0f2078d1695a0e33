"""Tells people about a run from Airflow's callbacks: deadlines, failures, successes."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from datetime import datetime
from typing import TYPE_CHECKING, Any, TypeVar

from airflow.sdk import BaseNotifier, Context

from muster.errors import DatabaseLost, MusterError
from muster.language.channels import CHANNELS
from muster_airflow.egress import note, text_of

if TYPE_CHECKING:
    from muster.execution import Services

T = TypeVar("T")
RETRY_DELAYS = (1, 2, 5, 10, 20, 30)
"""Seconds between attempts while Muster's database is away."""
LATE = (
    "{{ dag_run.dag_id }} has not finished within {{ within or 'its deadline' }}: "
    "run {{ dag_run.dag_run_id or dag_run.run_id }} is {{ dag_run.state }}."
)
"""What a deadline says when its automation gives no text."""


class MusterNotifier(BaseNotifier):
    """Sends an automation's notices, each at least once, with the outbox as its record.

    As a deadline: `DeadlineAlert(..., callback=AsyncCallback(MusterNotifier, kwargs={"notify": [...]}))`.
    """

    template_fields: Sequence[str] = ("notify_entries", "text", "subject")

    def __init__(
        self,
        *,
        notify: Sequence[Mapping[str, Any]],
        text: str = LATE,
        subject: str = "",
        within: str = "",
        context: Context | None = None,
    ) -> None:
        super().__init__(context)
        self.notify_entries = [dict(entry) for entry in notify]
        """As an automation says it: `{slack: "#ops"}` or `{email: ops@example.com}`."""
        self.text = text
        """Said by every entry without a text of its own."""
        self.subject = subject
        self.within = within
        """How long the run had, in words; the template may name it."""

    def _update_context(self, context: Context) -> Context:
        context["within"] = self.within  # type: ignore[typeddict-unknown-key]
        return context

    async def async_notify(self, context: Context) -> None:
        """Send each notice; one that fails does not keep the others back. After a run that ended in time none is sent.

        If none of the addresses is valid, the notice goes to the common channel.

        Raises:
            MusterError: at least one notice could not be sent; the outbox keeps it if its address is valid.
        """
        from muster.events.sealing import current_seals
        from muster.execution import is_about_somebody, tell
        from muster.saga.incidents import NOBODY
        from muster_airflow.services import services_in_triggerer

        services, run = await services_in_triggerer(), "/".join(_run(context))
        if await _ended_in_time(services, context):
            note("info", f"{run} ended before its deadline: nobody is told.")
            return
        wanted = self.notices(context)

        async def words() -> list[dict[str, Any]]:
            if (about := current_seals()) is None or about.known:
                return wanted
            # The person was forgotten here, but Airflow still knows the run's data and has filled it into the texts: a
            # text without any of it is sent instead.
            late = f"{run} has not finished within {self.within or 'its deadline'}."
            return [{**fields, "subject": "", "text": late} for fields in wanted]

        if faults := await _patiently(lambda: tell(services, run, "", words, otherwise=NOBODY)):
            about_somebody = await is_about_somebody(services, run)
            places = {fields["key"]: fields["key" if about_somebody else "target"] for fields in wanted}
            failures = [f"{places[key]}: {text_of(faults[key], about_somebody=about_somebody)}" for key in faults]
            remedy = "`muster outbox --status failed` shows those that have an address."
            raise MusterError("; ".join(failures), remedy=remedy)

    def notify(self, context: Context) -> None:
        """The same from a process without an event loop."""
        asyncio.run(self.async_notify(context))

    def notices(self, context: Context) -> list[dict[str, Any]]:
        """The rendered entries as the fields of notices; the same event of the same run always gives the same keys."""
        dag, run = _run(context)
        occasion = _occasion(context)
        return [
            {
                "channel": (channel := next((name for name in CHANNELS if name in entry), "")),
                "target": entry.get(channel) or "",
                "subject": entry.get("subject", self.subject),
                "text": entry.get("text", self.text),
                "key": f"{dag}/{run}/{occasion}/notice/{number}",
                "run": f"{dag}/{run}",
            }
            for number, entry in enumerate(self.notify_entries)
        ]


async def _patiently(told: Callable[[], Awaitable[T]]) -> T:
    """The result of `told`, tried again while the database is away.

    Airflow calls a notifier once, and a notice that did not get into the outbox is sent by nobody else.
    """
    for pause in RETRY_DELAYS:
        with suppress(DatabaseLost):
            return await told()
        await asyncio.sleep(pause)
    return await told()


def _run(context: Mapping[str, Any]) -> tuple[str, str]:
    # A deadline's context holds the run as the REST API shows it, a task's holds the object.
    run = context["dag_run"]
    if isinstance(run, Mapping):
        return run["dag_id"], run["dag_run_id"]
    return run.dag_id, run.run_id


async def _ended_in_time(services: Services, context: Mapping[str, Any]) -> bool:
    """True if the occasion is a deadline and the run had surely ended by then.

    Airflow drops the deadline of a run that succeeded, and keeps that of a run that failed in time.
    """
    if not (deadline := context.get("deadline")):
        return False
    from muster.runs import ended_by

    moment = _moment(deadline["deadline_time"])
    try:
        known = await ended_by(services.log, "/".join(_run(context)), moment)
    except MusterError:
        # The log was altered, for example. A notice for nothing is better than none about a run that is late.
        return False
    if known is not None:
        return known
    # The log knows nothing of the run, for example because a person ended it before it was opened: Airflow's date
    # counts.
    run = context["dag_run"]
    ended = run.get("end_date") if isinstance(run, Mapping) else run.end_date
    return ended is not None and _moment(ended) <= moment


def _moment(said: datetime | str) -> datetime:
    return datetime.fromisoformat(said) if isinstance(said, str) else said


def _occasion(context: Mapping[str, Any]) -> str:
    if deadline := context.get("deadline"):
        return f"deadline/{deadline['id']}"
    # The try is part of the key: when the next try fails as well, that is another occasion.
    task = context.get("ti")
    return f"{task.task_id}/{task.map_index}/{task.try_number}/{task.state}" if task else "run"
