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
        except Exception:
            log.exception("A notice could not be sent; it is in the outbox as %s", notice.key)
