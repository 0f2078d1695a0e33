"""How long an attempt of an operator of another class may take, in its process and where it waits outside of one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager, nullcontext, suppress
from datetime import UTC, datetime, timedelta
from types import FrameType

from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowRescheduleException, AirflowTaskTimeout, TaskAwaitingInput, TaskDeferred
from airflow.sdk.execution_time.timeout import timeout

from muster.errors import ErrorClass, PermanentError, TransientError
from muster.events.model import EventType
from muster.events.payloads.work import StepStarted
from muster.execution import WorkItem
from muster.failures import took_too_long

TAKE_UP = 60.0
"""Seconds that an operator always gets to take up a result: its time may have ended while it waited for a worker."""


class Limit:
    """The step's `timeout` of one attempt, counted from its beginning in the log: it may go through many processes."""

    def __init__(self, work_item: WorkItem, *, resumed: bool) -> None:
        self._seconds, self._resumed = work_item.step.timeout, resumed
        # Counted from the log and not from this process: an operator that defers itself goes on in another process,
        # where its time would begin anew. Each attempt, in each execution of the run, has its whole time.
        known = work_item.view.events_of(EventType.STEP_STARTED, work_item.step.id, work_item.index)
        place = work_item.ref.epoch, work_item.ref.attempt
        began = (event.at for event in known if (event.epoch, StepStarted.of(event).attempt) == place)
        self._end: datetime | None = None
        if self._seconds is not None:
            self._end = next(began, datetime.now(UTC)) + timedelta(seconds=self._seconds)

    @property
    def is_over(self) -> bool:
        """True when the time of the attempt is over."""
        return self._end is not None and datetime.now(UTC) >= self._end

    def ensure_left(self) -> None:
        """Ensure that the attempt has time left.

        Raises:
            TransientError: its time is over; the step's `retry` decides what follows.
        """
        if self.is_over:
            raise took_too_long(self._seconds)

    def ends(self, asked: TaskDeferred | TaskAwaitingInput | AirflowRescheduleException) -> None:
        """Shorten a wait that an operator asks for, so that it ends with the attempt's time at the latest.

        Raises:
            PermanentError: the operator gives no valid time. Not repeated, because another attempt would hand over its
                job again.
        """
        try:
            # The wait has no process in which an alarm could go off, so Airflow has to end it.
            if isinstance(asked, AirflowRescheduleException):
                asked.reschedule_date = min(asked.reschedule_date, self._end or asked.reschedule_date)
            else:
                asked.timeout = self._within(asked.timeout)
        except (TypeError, ValueError, OverflowError) as error:
            raise PermanentError(f"It cannot wait as it asks: {error}.") from error

    def _within(self, own: timedelta | float | None) -> timedelta | None:
        own = timedelta(seconds=own) if isinstance(own, int | float) else own
        if self._end is None:
            return own
        left = max(timedelta(0), self._end - datetime.now(UTC))
        return left if own is None else min(own, left)

    @contextmanager
    def kept(self, operator: BaseOperator) -> Iterator[None]:
        """Run the operator's own code, the body, until its time is over; then stop what the operator has started.

        Raises:
            TransientError: its time was over, or it raised a timeout of its own, or called `sys.exit`.
        """
        alarm = self._alarm()
        try:
            with alarm or nullcontext():
                yield
        except AirflowTaskTimeout as error:
            raise TransientError(f"It gave up: {error}.", error_class=ErrorClass.TIMEOUT) from error
        except SystemExit as error:
            raise TransientError(f"It wanted to end its process: SystemExit({error.code!r}).") from error
        finally:
            # In `finally`, because the operator's code may have caught the alarm, and then have skipped itself or
            # returned as if it had succeeded.
            if alarm and alarm.went_off:
                with suppress(Exception):
                    operator.on_kill()
                raise took_too_long(self._seconds)

    def _alarm(self) -> _Alarm | None:
        if self._end is None:
            return None
        # A resumed operator is not refused: what it waited for has come, and its worker may have kept it waiting past
        # its time.
        if not self._resumed:
            self.ensure_left()
        left = (self._end - datetime.now(UTC)).total_seconds()
        return _Alarm(max(left, TAKE_UP) if self._resumed else left)


class _Alarm(timeout):
    """Airflow's timer, which says afterwards whether it went off."""

    went_off = False

    def handle_timeout(self, signum: int, frame: FrameType | None) -> None:
        self.went_off = True
        super().handle_timeout(signum, frame)
