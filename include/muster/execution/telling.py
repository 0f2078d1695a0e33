"""Sends notices whose failure must not stop the work."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping
from functools import partial
from typing import Any

from muster.errors import DatabaseLost, MusterError, TransientError
from muster.events.sealing import ForgottenMeanwhile, Seals, about_whom, current_seals
from muster.execution.services import Services
from muster.notifications.addressing import addressed, report

Words = Callable[[], Awaitable[Iterable[Mapping[str, Any]]]]
"""Makes the fields of the notices from the log as it is when called."""


async def tell(services: Services, run: str, step: str, words: Words, *, otherwise: str) -> dict[str, Exception]:
    """Send the notices that `words` makes. A notice that cannot be sent stops neither the others nor the work.

    Returns:
        The errors by the key of the notice. The outbox has the notice, unless none could be made: see `addressed`.

    Raises:
        DatabaseLost: the notices may not be in the outbox; call this again.
    """
    # `about_whom` reads the run's subject before the words are made. If the subject is forgotten while notices are
    # sent, the words are made anew for the people who have not been told.
    work = partial(_tell, services, step, words, otherwise=otherwise)
    faults = await about_whom(partial(_seals, services), run, work)
    # After the work, because inside work about somebody every logged line is withheld.
    report(faults)
    return faults


async def is_about_somebody(services: Services, run: str) -> bool:
    """True when the run is about somebody, and also when that cannot be found out."""
    return await _seals(services, run) is not None


async def _tell(services: Services, step: str, words: Words, *, otherwise: str) -> dict[str, Exception]:
    seals = current_seals()
    notices, faults = addressed(await words(), otherwise=otherwise, about_somebody=seals is not None, step=step)
    # A single notice is recorded when it is sent. Several are recorded first: if the process died after the first one,
    # nobody would know of the others.
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
        # People must hear of an altered log, for example. It cannot say whom the run is about, so treat it as personal:
        # the notice then names only the run and the step.
        return Seals("", None, run)
