"""The errors a person meets, each saying what happens next and how to mend it."""

from __future__ import annotations

from collections.abc import Sequence

from muster.findings import Finding


class MusterError(Exception):
    """Base of every error Muster raises on purpose; shown to people without a traceback."""

    def __init__(self, message: str, *, remedy: str | None = None) -> None:
        super().__init__(message)
        self.message = message
        self.remedy = remedy
        """What the reader can do about it, as one imperative sentence."""

    def __str__(self) -> str:
        return f"{self.message} {self.remedy}" if self.remedy else self.message


class TransientError(MusterError):
    """Something outside failed in a way that may pass: the step is retried as its `retry` says."""

    def __init__(self, message: str, *, remedy: str | None = None, retry_after: float | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.retry_after = retry_after
        """Seconds the other side asked us to wait, when it did."""


class PermanentError(MusterError):
    """Trying again cannot help: the step goes to its `fallback`, else it fails for good."""


class SetAside(PermanentError):
    """This item cannot be processed: it is set aside with its findings and the other items go on."""

    def __init__(self, message: str, findings: Sequence[Finding] = (), *, remedy: str | None = None) -> None:
        super().__init__(message, remedy=remedy)
        self.findings = tuple(findings)


class BudgetExceeded(PermanentError):
    """The next call would overspend the run's budget, so it was not made."""


class ConcurrencyError(MusterError):
    """Somebody else appended to the stream first: read it again and decide again."""
