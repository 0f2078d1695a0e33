"""Tells people what does not depend on their hearing it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from muster.errors import MusterError
from muster.execution.services import Services
from muster.notifications.addressing import addressed

log = logging.getLogger(__name__)


async def tell(
    services: Services, run: str, step: str, notices: Iterable[Mapping[str, Any]], *, otherwise: str
) -> None:
    """Send the notices with these fields; one that cannot be sent keeps neither the others nor the work back.

    It stays in the outbox, unless no notice can be made of it: see `addressed`.
    """
    about_somebody = await is_about_somebody(services, run)
    for notice in addressed(notices, otherwise=otherwise, about_somebody=about_somebody, step=step)[0]:
        try:
            await services.notices.send(notice)
        except Exception as error:
            # Not in words: what a mail server says repeats whom it was for, and the outbox has it.
            log.error("A notice could not be sent (%s); it is in the outbox as %s", type(error).__name__, notice.key)


async def is_about_somebody(services: Services, run: str) -> bool:
    """True also when nobody can say, so that people are told all the same."""
    try:
        return await services.log.asubject(run) is not None
    except MusterError:
        return True
