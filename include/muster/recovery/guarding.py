"""A call guarded by a circuit breaker: let through or not, and its outcome counted."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable
from types import TracebackType
from typing import Literal

from muster.errors import ErrorClass, MusterError, TransientError
from muster.failures import classify
from muster.recovery.breakers import BreakerOpen, Breakers, Permit, Policy
from muster.recovery.leases import LeaseLost, LeaseTaken

log = logging.getLogger(__name__)

Verdict = Literal["failure", "success", "nothing"]
"""What the end of a call says about the other side."""


class ProbeTimedOut(TransientError):
    """A probe took longer than it may: the breaker opens again, and another probe is made when its time is over."""


def transient_is_failure(error: BaseException) -> Verdict:
    """`failure` for an error that may pass; `nothing` for a refusal, and for a mistake of our own."""
    if isinstance(error, MusterError):
        ours = isinstance(error, BreakerOpen | LeaseTaken | LeaseLost)
        return "failure" if isinstance(error, TransientError) and not ours else "nothing"
    kind = classify(error)
    # A client's own errors are of its module, a mistake in the program is one of Python's.
    of_a_client = isinstance(error, OSError) or type(error).__module__ != "builtins"
    may_pass = kind in _BUSY or (kind == ErrorClass.TRANSIENT and of_a_client)
    return "failure" if may_pass else "nothing"


_BUSY = frozenset({ErrorClass.RATE_LIMIT, ErrorClass.OVERLOAD, ErrorClass.TIMEOUT})


class Guard:
    """The body of `with` or `async with` is one call; what it raises goes on, and is counted as `judge` says.

    A probe is cut off when its time is over (in `async with`), so that there is never a second beside it. When
    the database does not answer, the call is let through uncounted: a guard must not be what breaks.

    Raises:
        BreakerOpen: the call was not made.
    """

    def __init__(
        self,
        breakers: Breakers,
        name: str,
        policy: Policy,
        judge: Callable[[BaseException], Verdict] = transient_is_failure,
    ) -> None:
        self._breakers, self._name, self._policy, self._judge = breakers, name, policy, judge
        self._permit: Permit | None = None

    def __enter__(self) -> None:
        try:
            self._permit = self._breakers.admit(self._name, self._policy)
        except BreakerOpen:
            raise
        except MusterError as error:
            self._warn(error)

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if self._permit is None:
            return
        verdict = "success" if error is None else self._judge(error)
        try:
            if verdict == "nothing":
                self._breakers.withdraw(self._permit)
            else:
                self._breakers.report(self._permit, self._policy, error if verdict == "failure" else None)
        except MusterError as lost:
            self._warn(lost)

    async def __aenter__(self) -> None:
        try:
            self._permit = await self._breakers.aadmit(self._name, self._policy)
        except BreakerOpen:
            raise
        except MusterError as error:
            self._warn(error)
        is_probe = self._permit is not None and self._permit.is_probe
        # Only a probe is limited: after its time another one is let through, and must not run beside it.
        self._limit = asyncio.timeout(self._policy.probe_seconds if is_probe else None)
        await self._limit.__aenter__()

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        late: ProbeTimedOut | None = None
        try:
            await self._limit.__aexit__(kind, error, trace)
        except TimeoutError:
            # Reported in place of the cancellation below, which would say nothing: a probe that hangs is a failure.
            late = ProbeTimedOut(f"The probe of {self._name} took longer than {self._policy.probe_seconds:g} s.")
        if self._permit is not None:
            await self._say(self._permit, late or error)
        if late is not None:
            raise late from error

    async def _say(self, permit: Permit, error: BaseException | None) -> None:
        verdict = "success" if error is None else self._judge(error)
        try:
            if verdict == "nothing":
                await self._breakers.awithdraw(permit)
            else:
                await self._breakers.areport(permit, self._policy, error if verdict == "failure" else None)
        except MusterError as lost:
            self._warn(lost)

    def _warn(self, error: MusterError) -> None:
        # Logged and not raised: a database that is away must not turn a call that went well into one that failed.
        log.warning("the circuit breaker %s is not counting: %s", self._name, error)
