"""Makes notices of what is to be told. If no address is valid, the common channel is told, so that somebody is."""

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
    """Make notices of these fields, one for each place.

    If none can be made, or nobody has named a place, there is one notice for the common channel at `otherwise`. If the
    run is about somebody, that notice names only the run and the `step`, because nobody chose that place to read more.

    Returns:
        The notices; and by key, the error of each that cannot be made, because its address is not valid for example.
    """
    every, faults = list(wanted), dict[str, Exception]()
    made = (_made(fields, faults) for fields in every if "target" in fields)
    notices = [notice for notice in made if notice is not None]
    if every and not notices:
        common = {**every[0], "channel": COMMON, "target": otherwise}
        bare = {**common, "subject": "", "text": _where(common.get("run"), step)}
        # `bare` comes second, for words that make no valid notice: people then read at least where to look.
        tried = (_made(fields, faults) for fields in ([bare] if about_somebody else [common, bare]))
        notices = [notice for notice in tried if notice is not None][:1]
    return notices, faults


def report(faults: Mapping[str, Exception]) -> None:
    """Log which notices were not sent, by their keys and the class of the error."""
    for key, error in faults.items():
        # Only the class of the error: the address may be personal, and a mail server's answer repeats it.
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
