"""The errors a person meets, each saying what happens next and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import TYPE_CHECKING, ClassVar

if TYPE_CHECKING:
    # Pydantic is heavy, and every command needs errors.
    from muster.findings import Finding


class ErrorClass(StrEnum):
    """What kind of failure an error is: it decides whether and when trying again can help."""

    RATE_LIMIT = "rate_limit"
    """The other side has had enough of us for now, and may say for how long."""
    OVERLOAD = "overload"
    """The other side has too much to do."""
    TIMEOUT = "timeout"
    """No answer in time."""
    AUTH = "auth"
    """We are not known there, or may not do this."""
    BAD_REQUEST = "bad_request"
    """The other side will never take this request."""
    BAD_OUTPUT = "bad_output"
    """An answer came that cannot be used; asked afresh, another may come."""
    TRANSIENT = "transient"
    """Anything else that may pass."""
    PERMANENT = "permanent"
    """Anything else that will not pass."""


def one_period(sentence: str) -> str:
    """The sentence without its second period: what it repeats of an error at its end may be a sentence already."""
    return sentence[:-1] if sentence.endswith("..") and not sentence.endswith("...") else sentence


class MusterError(Exception):
    """Base of every error Muster raises on purpose; shown to people without a traceback."""

    usual: ClassVar[ErrorClass] = ErrorClass.TRANSIENT
    """What kind of failure it is unless it says otherwise."""
    repeats_data: ClassVar[bool] = True
    """False when its words are only about runs and steps: no personal data can get into them, so anybody may hear."""

    def __init__(self, message: str, *, remedy: str | None = None, error_class: ErrorClass | None = None) -> None:
        message = one_period(message)
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        """What the reader can do about it, as one imperative sentence."""
        self.error_class = self.usual if error_class is None else error_class
        """What kind of failure it is."""

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class TransientError(MusterError):
    """Something outside failed in a way that may pass: the step is retried as its `retry` says."""

    def __init__(
        self,
        message: str,
        *,
        remedy: str | None = None,
        retry_after: float | None = None,
        error_class: ErrorClass | None = None,
    ) -> None:
        super().__init__(message, remedy=remedy, error_class=error_class)
        self.retry_after = retry_after
        """Seconds the other side asked us to wait, when it did."""


class DatabaseLost(TransientError):
    """Muster's own database did not answer: no failure of the work, which is done again once it does."""

    repeats_data = False


class RowLocked(TransientError):
    """Another transaction has locked a row, and did not end in the time we wait for it."""

    repeats_data = False


class PermanentError(MusterError):
    """Trying again cannot help: the step goes to its `fallback`, else it fails for good."""

    usual = ErrorClass.PERMANENT


class Final(PermanentError):
    """Nothing repeats it, and no fallback takes its place."""


class SetAside(PermanentError):
    """This item cannot be processed: it is set aside with its findings and the other items go on."""

    def __init__(self, message: str, findings: Sequence[Finding] = (), *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.findings = tuple(findings)


class BudgetExceeded(PermanentError):
    """The next call would overspend the run's budget, so it was not made."""


class RetriesExhausted(PermanentError):
    """The run's budget of retries is used up: the step goes to its `fallback`, else it fails for good."""


class ConcurrencyError(MusterError):
    """Somebody else appended to the stream first: read it again and decide again."""
