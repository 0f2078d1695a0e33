"""The mailbox of one who works at a run: it writes to others of the run, and tried again sends nothing twice."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Collection, Sequence
from typing import Any
from uuid import UUID, uuid5

from psycopg import AsyncConnection, Connection
from psycopg.rows import TupleRow

from muster.coordination.messages.mailbox import Mailbox
from muster.coordination.messages.model import Draft, MessageRefused
from muster.coordination.messages.office import Office
from muster.coordination.messages.waking import Address
from muster.events.canonical import canonical

_MESSAGES = UUID("5b2f6c1e-8f39-4f0e-9b57-3b8a1c0d7e42")


class MemberMailbox(Mailbox):
    """Sends to the agents and steps of its run. A message has an id that follows from the work and what it says."""

    def __init__(self, office: Office, address: Address, members: Collection[str], work: str) -> None:
        super().__init__(office, address)
        self.members = frozenset(members)
        """Who can be written to."""
        self._work, self._sent = work, Counter[str]()

    def send_all(self, drafts: Sequence[Draft], *, within: Connection[TupleRow] | None = None) -> list[UUID]:
        """Send several messages in one transaction, all or none; raises what `send` raises."""
        return super().send_all(self._own(drafts), within=within)

    async def asend_all(
        self, drafts: Sequence[Draft], *, within: AsyncConnection[TupleRow] | None = None
    ) -> list[UUID]:
        """`send_all` for coroutines."""
        return await super().asend_all(self._own(drafts), within=within)

    def _question(self, to: str, body: Any, seconds: float, more: dict[str, Any]) -> tuple[Draft, Mailbox]:
        [asked] = self._own([Draft(to=(to,), body=body, **more)])
        return super()._question(to, body, seconds, {**more, "id": asked.id})

    def _own(self, drafts: Sequence[Draft]) -> list[Draft]:
        return [self._known(draft) for draft in drafts]

    def _known(self, draft: Draft) -> Draft:
        for name in draft.to:
            if name not in self.members:
                near = difflib.get_close_matches(name, self.members, n=1)
                there = ", ".join(sorted(self.members))
                raise MessageRefused(
                    f"Nobody called {name[:100]!r} works at this run.",
                    remedy=f"Did you mean {near[0]!r}?" if near else f"Write to one of {there}.",
                )
        if "id" in draft.model_fields_set:
            return draft
        said = canonical([self._work, *draft.to, draft.topic, draft.correlation, _plain(draft.body)])
        # Said twice in one attempt it is two messages, and in the next attempt the same two.
        self._sent[said] += 1
        return draft.model_copy(update={"id": uuid5(_MESSAGES, f"{said}#{self._sent[said]}")})


def _plain(body: Any) -> Any:
    return body.model_dump(mode="json") if hasattr(body, "model_dump") else body
