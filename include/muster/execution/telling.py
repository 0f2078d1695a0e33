"""Tells people what does not depend on their hearing it."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from muster.execution.services import Services
from muster.language.channels import COMMON
from muster.notifications.model import Notice

log = logging.getLogger(__name__)


async def tell(services: Services, notices: Iterable[Mapping[str, Any]], *, otherwise: str) -> None:
    """Send the notices with these fields; one that cannot be sent keeps neither the others nor the work back.

    It stays in the outbox, unless no notice can be made of it, because its address is none for example. Where none can
    be made at all, the common channel is told, at the place `otherwise`.
    """
    told = [(fields, await _sent(services, fields)) for fields in notices]
    if told and not any(made for _, made in told):
        await _sent(services, {**told[0][0], "channel": COMMON, "target": otherwise})


async def _sent(services: Services, fields: Mapping[str, Any]) -> bool:
    """Send a notice, or keep it in the outbox; false where none can be made of the fields."""
    try:
        notice = Notice(**fields)
    except Exception as error:
        # Not in words either: the address may be personal.
        log.error("No notice can be made of %s (%s): look at its address", fields["key"], type(error).__name__)
        return False
    try:
        await services.notices.send(notice)
    except Exception as error:
        # Not in words: what a mail server says repeats whom it was for, and the outbox has it.
        log.error("A notice could not be sent (%s); it is in the outbox as %s", type(error).__name__, notice.key)
    return True
