"""Performs effects outside by the ledger: once, and after a crash only when it is known to be right."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Awaitable, Callable
from contextlib import suppress
from types import TracebackType
from typing import Any

from muster.errors import Final, MusterError, PermanentError, TransientError
from muster.recovery.holding import acheck_held, check_held
from muster.recovery.ledger import (
    Begun,
    Busy,
    Done,
    Effect,
    EffectConflict,
    EffectResult,
    FindOut,
    Happened,
    InDoubt,
    Ledger,
    NotPerformed,
    OutcomeUnknown,
    Status,
    cannot_tell,
    done,
    not_done,
)
from muster.recovery.renewing import Claim, keep, let_go

LONGEST_WAIT = 60.0
"""Seconds an effect may take in a coroutine. The claim of an attempt that was killed lasts `GRACE` longer."""
GRACE = 5.0
"""Seconds a claim outlives the patience. It is renewed while the effect is performed, however long that takes."""
POLL = 0.1
"""Seconds between looks at an effect that another attempt performs."""


class IdempotentEffect:
    """One effect, to be performed once: by `perform`, or as the body of `with` or `async with`.

    As a body, look at `happened` first: the effect of an earlier attempt is not to be repeated.

        async with context.effect("charge", request=order, find_out=ask_the_bank) as effect:
            if not effect.happened:
                effect.result = await bank.charge(order, key=effect.key)
        return effect.result

    A body that ends with a `PermanentError` or with `NotPerformed` says that nothing happened. Any other error
    leaves it open, and the next attempt asks `find_out`; so do `OutcomeUnknown` and `EffectConflict` of an effect
    within the body.
    """

    def __init__(
        self,
        ledger: Ledger,
        effect: Effect,
        find_out: FindOut = cannot_tell,
        *,
        patience: float = LONGEST_WAIT,
        grace: float = GRACE,
    ) -> None:
        self.key = effect.key
        """What to give the other side as its idempotency key, where it takes one."""
        self.happened = False
        """True when an earlier attempt performed it: `result` is what came of that."""
        self._result: object = None
        self._known = False
        self._ledger, self._effect, self._find_out = ledger, effect, find_out
        self._patience, self._claim = patience, patience + grace
        self._attempt = 0
        self._kept: Claim | None = None

    @property
    def result(self) -> object:
        """What came of it; JSON. Setting it says that the effect has happened, whatever follows."""
        return self._result

    @result.setter
    def result(self, value: object) -> None:
        self._result, self._known = value, True

    def perform(self, do: Callable[[], object]) -> object:
        """What `do` gives back, or gave back to an earlier attempt; JSON.

        Raises:
            EffectConflict: the key stands for another request that happened, or may have.
            OutcomeUnknown: an earlier attempt did not come back and nobody can tell what became of it.
            LeaseLost: a lease this work is done under was lost; nothing was begun.
            TransientError: another attempt is still at it.
        """
        with self:
            if not self.happened:
                self.result = do()
        return self.result

    async def aperform(self, do: Callable[[], Awaitable[object]]) -> Any:
        """`perform` for coroutines; given up after the patience."""
        async with self:
            if not self.happened:
                self.result = await do()
        return self.result

    def __enter__(self) -> IdempotentEffect:
        # Before the beginning is written: under a lost lease somebody else may be at the same work.
        check_held()
        # Twice the claim: that of a dead attempt has run out by then, so whoever still has it is alive.
        until = time.monotonic() + 2 * self._claim
        while isinstance(state := self._ledger.begin(self._effect, self._claim), Busy):
            time.sleep(_pause(state, until, self._effect))
        in_doubt = self._is_in_doubt(state)
        # Before `find_out`, which may take longer than the claim: another attempt would ask beside this one.
        self._keep()
        if in_doubt:
            self._ask()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        self._let_go()
        if self.happened:
            return
        if error is None or self._known:
            self._result = self._ledger.do(done(self._effect, self._result, self._ledger.seals))
        else:
            self._leave(error, _status(error))

    async def __aenter__(self) -> IdempotentEffect:
        # In the order of `__enter__`, and for its reasons.
        await acheck_held()
        until = time.monotonic() + 2 * self._claim
        while isinstance(state := await self._ledger.abegin(self._effect, self._claim), Busy):  # noqa: ASYNC110
            await asyncio.sleep(_pause(state, until, self._effect))
        in_doubt = self._is_in_doubt(state)
        self._keep()
        if in_doubt:
            await self._aask()
        self._limit = asyncio.timeout(self._patience)
        await self._limit.__aenter__()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._let_go()
        # The limit ends before the outcome is written. Cut off while its outcome is written, an effect that has
        # happened would be in doubt.
        with suppress(TimeoutError):
            await self._limit.__aexit__(kind, error, trace)
        if self.happened:
            pass
        elif error is None or self._known:
            self._result = await self._ledger.ado(done(self._effect, self._result, self._ledger.seals))
        else:
            await self._aleave(error, _status(error))
        if error is not None and self._limit.expired():
            raise TransientError(f"The effect {self.key!r} took longer than {self._patience:g} s.") from error

    def _keep(self) -> None:
        """Renew the claim from now on: whoever finds the effect begun leaves it to this attempt while it lives."""
        if not self.happened:
            self._kept = keep(self._ledger.database.dsn, self.key, self._attempt, self._claim)

    def _let_go(self) -> None:
        if self._kept is not None:
            let_go(self._kept)

    def _is_in_doubt(self, state: Begun | InDoubt | Done) -> bool:
        if isinstance(state, Done):
            self.happened, self._result = True, state.result
        else:
            self._attempt = state.attempt
        return isinstance(state, InDoubt)

    def _ask(self) -> None:
        try:
            answer = self._find_out()
            # Closed, because Python would warn of a coroutine that nobody awaits, beside the error below.
            if inspect.iscoroutine(answer):
                answer.close()
            if inspect.isawaitable(answer):
                raise TypeError("`find_out` is a coroutine function, so the effect needs `async with`.")
            self._decide(answer)
        except BaseException as error:
            # Nobody has found out: the effect stays in doubt, and the next attempt asks again.
            self._leave(error, "unknown")
            raise
        if self.happened:
            # Settled here and not at the end of the body: a crash in the body must not put it in doubt once more.
            self._let_go()
            self._result = self._ledger.do(done(self._effect, self._result, self._ledger.seals))

    async def _aask(self) -> None:
        try:
            async with asyncio.timeout(self._patience):
                answer = self._find_out()
                self._decide(await answer if inspect.isawaitable(answer) else answer)
        except BaseException as error:
            await self._aleave(error, "unknown")
            raise
        if self.happened:
            self._let_go()
            self._result = await self._ledger.ado(done(self._effect, self._result, self._ledger.seals))

    def _decide(self, found: Happened | EffectResult) -> None:
        if isinstance(found, Happened):
            self.happened, self._result = True, found.result
        elif not found.may_repeat:
            raise OutcomeUnknown.of(
                self.key,
                f"An attempt at {self.key!r} ({self._effect.kind}) did not come back; whether it happened is unknown.",
            )

    def _leave(self, error: BaseException, status: Status) -> None:
        self._let_go()
        # The error that ended the attempt is the one to raise. An outcome that cannot be written leaves the effect
        # begun, and in doubt once the claim has run out.
        with suppress(MusterError):
            self._ledger.do(not_done(self._effect, self._attempt, error, status, self._ledger.seals))

    async def _aleave(self, error: BaseException, status: Status) -> None:
        self._let_go()
        with suppress(MusterError):
            await self._ledger.ado(not_done(self._effect, self._attempt, error, status, self._ledger.seals))


def _status(error: BaseException) -> Status:
    # Permanent errors, but they come from an effect within the body: it has happened or may have, and so may what the
    # body did before. They do not say that nothing happened.
    if isinstance(error, Final | EffectConflict):
        return "unknown"
    return "failed" if isinstance(error, PermanentError | NotPerformed) else "unknown"


def _pause(state: Busy, until: float, effect: Effect) -> float:
    if time.monotonic() >= until:
        raise TransientError(f"Another attempt is still at the effect {effect.key!r}.", retry_after=state.seconds)
    return min(POLL, max(state.seconds, 0.005))
