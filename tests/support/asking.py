"""What a task does of a question that it has put, in another process: people are told of it."""

from __future__ import annotations

import os
import signal
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from muster.approvals import asking
from muster.database import Database
from muster.events.model import Event, EventType, NewEvent
from muster.execution.personal import RunLog
from muster.execution.references import WorkRef
from muster.notifications import Delivery, Notice, Sender
from support.outside import Hook
from support.runs import MASTER, Site

MOMENTS = ("before it is sent", "once it is sent", "once that is recorded")
"""When it dies."""


def announce(dsn: str, url: str, folder: Path, run: str, moment: str = "never") -> None:
    """Before it waits, and again where it had died."""

    def die(now: str) -> None:
        if now == moment:
            os.kill(os.getpid(), signal.SIGKILL)

    class Slack(Hook):
        async def send(self, notice: Notice) -> Delivery:
            die("before it is sent")
            delivery = await super().send(notice)
            die("once it is sent")
            return delivery

    class Log(RunLog):
        async def aappend(self, stream: str, events: Sequence[NewEvent], **how: Any) -> list[Event]:
            if any(event.type == EventType.APPROVAL_TOLD for event in events):
                die("once that is recorded")
            return await super().aappend(stream, events, **how)

    database = Database(dsn)
    site, log = Site.of(folder / "include", database, folder / "artifacts"), Log(database, lambda: MASTER)
    services = replace(site.services, log=log, notices=Sender(database, {"slack": Slack(url)}, seals=log.aseals))
    waits = site.do(asking.look(services, WorkRef(run=run, step="approve")))
    assert isinstance(waits, asking.Request)
