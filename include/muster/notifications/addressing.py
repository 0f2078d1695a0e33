"""Of what is to be told, the notices that can be made; nobody is left untold because an address is none."""

from __future__ import annotations

import logging
from collections.abc import Iterable, Mapping
from typing import Any

from muster.language.channels import COMMON
from muster.notifications.model import Notice

log = logging.getLogger(__name__)


def addressed(
    wanted: Iterable[Mapping[str, Any]], *, otherwise: str, about_somebody: bool, step: str = ""
) -> tuple[list[Notice], dict[str, Exception]]:
    """The notices with these fields; and by its key, why one cannot be made, because its address is none for example.

    Where none can be made at all there is one for the common channel, at the place `otherwise`. Nobody has named that
    for what a run about somebody tells: there it says only which run it is, which `step`, and that nothing else could
    be made.
    """
    every, faults = list(wanted), dict[str, Exception]()
    notices = [notice for fields in every if (notice := _made(fields, faults)) is not None]
    if every and not notices:
        common = {**every[0], "channel": COMMON, "target": otherwise}
        bare = {**common, "subject": "", "text": _where(common.get("run"), step)}
        tried = (_made(fields, faults) for fields in ([bare] if about_somebody else [common, bare]))
        notices = [notice for notice in tried if notice is not None][:1]
    return notices, faults


def _made(fields: Mapping[str, Any], faults: dict[str, Exception]) -> Notice | None:
    try:
        return Notice(**fields)
    except Exception as error:
        # Not in words: the address may be personal.
        log.error("No notice can be made of %s (%s): look at its address", fields["key"], type(error).__name__)
        faults[fields["key"]] = error
        return None


def _where(run: str | None, step: str) -> str:
    place = ", ".join(part for part in (run, step) if part) or "Muster"
    look = f"\nWhat it is: muster show {run}" if run else ""
    return f"{place}: there is something to tell, and none of the addresses that are named for it can be used.{look}"
