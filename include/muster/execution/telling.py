"""Tells people what does not depend on their hearing it."""

from __future__ import annotations

import logging
from collections.abc import Iterable

from muster.execution.services import Services
from muster.notifications.model import Notice

log = logging.getLogger(__name__)


async def tell(services: Services, notices: Iterable[Notice]) -> None:
    """Send each notice; one that cannot be sent stays in the outbox, and what it is about goes on all the same."""
    for notice in notices:
        try:
            await services.notices.send(notice)
        except Exception as error:
            # Not in words: what a mail server says repeats whom it was for, and the outbox has it.
            log.error("A notice could not be sent (%s); it is in the outbox as %s", type(error).__name__, notice.key)
