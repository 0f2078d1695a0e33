"""Tells people that a run is stuck."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

from muster.errors import DatabaseLost
from muster.events.keys import work_key
from muster.events.payloads.base import RecordedError
from muster.execution.references import WorkRef
from muster.execution.services import Services
from muster.execution.telling import tell
from muster.execution.view import definition_of
from muster.language.channels import COMMON
from muster.language.definition import Definition

NOBODY = "#incidents"
"""The place that is told when the automation names nobody."""


async def tell_stuck(services: Services, ref: WorkRef, step: str, index: int | None, error: RecordedError) -> None:
    """Send one notice to each place; one that cannot be sent stays in the outbox, and the run is stuck all the same."""
    work_item = work_key(step, index)

    async def words() -> Iterator[dict[str, object]]:
        return _notices(await definition_of(services, ref.run), ref, work_item, error)

    # `run.stuck` is in the log already. Without the database nothing reaches the outbox; the reconciler finds a stuck
    # run of which nobody was told, and tells people.
    with suppress(DatabaseLost):
        await tell(services, ref.run, work_item, words, otherwise=NOBODY)


def incident_places(definition: Definition | None) -> list[tuple[str, str]]:
    """Channel and place of each notice: the automation's `incidents`, else the common channel."""
    places = [place for target in definition.incidents for place in target.places] if definition is not None else []
    return places or [(COMMON, NOBODY)]


def _notices(definition: Definition, ref: WorkRef, work_item: str, error: RecordedError) -> Iterator[dict[str, object]]:
    text = (
        f"{definition.title}: the run {ref.run} is stuck at {work_item} and half undone. {error.message}\n"
        f"{error.remedy or 'Mend the cause.'}\n"
        f"Then: muster resume {ref.run}"
    )
    subject = f"Stuck: {definition.title}, {work_item}"
    for number, (channel, target) in enumerate(incident_places(definition)):
        # The reconciler derives this key from `run.stuck`, and looks in the outbox whether people were told under it.
        key = f"{ref.run}/stuck@{ref.epoch}/{number}"
        yield {"run": ref.run, "key": key, "channel": channel, "target": target, "subject": subject, "text": text}
