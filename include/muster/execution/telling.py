"""Tells people what does not depend on their hearing it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from muster.errors import DatabaseLost, MusterError, TransientError
from muster.events.sealing import ForgottenMeanwhile, Seals, about_whom, current_seals
from muster.execution.services import Services
from muster.notifications.addressing import addressed, report

Words = Callable[[], Awaitable[Iterable[Mapping[str, Any]]]]
"""Makes the fields of notices of what can be read as it is called."""


async def tell(services: Services, run: str, step: str, words: Words, *, otherwise: str) -> dict[str, Exception]:
    """Send the notices that `words` makes; one that cannot be sent keeps neither the others nor the work back.

    Whom the run is about is asked before the words are made: where they are forgotten meanwhile, the words are made
    anew, for those who have not been told.

    Returns:
        By its key, why a notice was not sent. The outbox has it, unless none can be made of it: see `addressed`.

    Raises:
        DatabaseLost: nothing may be in the outbox: to be said again.
    """
    work = partial(_tell, services, step, words, otherwise=otherwise)
    faults = await about_whom(partial(_seals, services), run, work)
    # Here, because nothing is logged in the middle of work about somebody.
    report(faults)
    return faults


async def is_about_somebody(services: Services, run: str) -> bool:
    """True also when nobody can say, so that people are told all the same."""
    return await _seals(services, run) is not None


async def _tell(services: Services, step: str, words: Words, *, otherwise: str) -> dict[str, Exception]:
    seals = current_seals()
    notices, faults = addressed(await words(), otherwise=otherwise, about_somebody=seals is not None, step=step)
    # One notice is recorded as it is sent. Of several, whoever dies after the first would leave the others unknown.
    if len(notices) > 1:
        await services.notices.outbox.aplan(notices, seals.known if seals is not None else ())
    for notice in notices:
        try:
            await services.notices.send(notice)
        except (ForgottenMeanwhile, DatabaseLost):
            raise
        except Exception as error:
            faults[notice.key] = error
    return faults


async def _seals(services: Services, run: str) -> Seals | None:
    try:
        return await services.log.aseals(run)
    except TransientError:
        raise
    except MusterError:
        # Of an altered log, for example, people must hear. Whom it is about nobody can say: it may be somebody.
        return Seals("", None, run)
