"""Of what is to be told in words of now, the notices that can be made: also where an address is none, somebody is."""

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

    Where none can be made at all, or what there is has no `target` because nobody has named a place for it, there is
    one for the common channel, at the place `otherwise`. Nobody has named that for what a run about somebody tells:
    there it says only which run it is, and which `step`.
    """
    every, faults = list(wanted), dict[str, Exception]()
    made = (_made(fields, faults) for fields in every if "target" in fields)
    notices = [notice for notice in made if notice is not None]
    if every and not notices:
        common = {**every[0], "channel": COMMON, "target": otherwise}
        bare = {**common, "subject": "", "text": _where(common.get("run"), step)}
        tried = (_made(fields, faults) for fields in ([bare] if about_somebody else [common, bare]))
        notices = [notice for notice in tried if notice is not None][:1]
    return notices, faults


def report(faults: Mapping[str, Exception]) -> None:
    """Say in the process's log which notices, by their keys, were not sent."""
    for key, error in faults.items():
        # Not in words: the address may be personal, and what a mail server says repeats it.
        log.error(
            "The notice %s (%s) was not sent; the outbox has it where its address is one", key, type(error).__name__
        )


def _made(fields: Mapping[str, Any], faults: dict[str, Exception]) -> Notice | None:
    try:
        return Notice(anew=True, **fields)
    except Exception as error:
        faults[fields["key"]] = error
        return None


def _where(run: str | None, step: str) -> str:
    place = ", ".join(part for part in (run, step) if part) or "Muster"
    look = f"\nWhat it is: muster show {run}" if run else ""
    return f"{place}: there is something to tell, and no address that can be used is named for it.{look}"
