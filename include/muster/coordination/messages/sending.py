"""What sending a message does: checks it, stores it, and says in words why it was not stored."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

from pydantic import BaseModel

from muster.coordination.messages import statements
from muster.coordination.messages.model import Draft, MessageRefused, ensure_name
from muster.coordination.messages.schemas import Schemas
from muster.coordination.messages.waking import Address
from muster.errors import TransientError
from muster.events.canonical import canonical
from muster.events.driver import HotQuery, Query, Work
from muster.events.sealing import Seals
from muster.events.statements import BEGIN, COMMIT
from muster.redaction import may_hold_secrets, redact_data

LARGEST = 1_000_000
"""Characters of a body."""


@dataclass(frozen=True)
class Sealer:
    """Seals the bodies of a run that is about somebody."""

    seals: Seals | None

    def seal(self, body: object) -> object:
        """`body` as it is stored."""
        return body if self.seals is None else self.seals.seal(body)

    def open(self, text: str) -> Any:
        """What was stored."""
        body = json.loads(text)
        return body if self.seals is None else self.seals.open(body)


@dataclass(frozen=True)
class Prepared:
    """A message that was checked, and the statement that stores it."""

    draft: Draft
    query: Query | HotQuery
    values: dict[str, object]
    body: Any


def prepare(
    address: Address, draft: Draft, schemas: Schemas, sealer: Sealer, *, answers: UUID | None = None
) -> Prepared:
    """Check a message before anything waits for the database. `answers` is the message that it is a reply to.

    Raises:
        MessageRefused: it is for nobody, does not fit its schema, is too large, or a name in it is none.
        PermanentError: its body is not JSON.
    """
    if not draft.to and draft.topic is None:
        raise MessageRefused("The message is for nobody.", remedy="Name a mailbox or a topic.")
    for name in draft.to if answers is None else ():
        ensure_name(name, "a mailbox")
    if draft.topic is not None:
        ensure_name(draft.topic, "a topic")
    for part in (draft.reply_to or "x").split("/", 1):
        ensure_name(part, "a mailbox")
    body = draft.body.model_dump(mode="json") if isinstance(draft.body, BaseModel) else draft.body
    schemas.ensure_fits(draft.schema_name, body)
    text = canonical(body)
    if len(text) > LARGEST:
        raise MessageRefused(
            f"The body has {len(text)} characters, and a message at most {LARGEST}.",
            remedy="Store it as a file or an output, and send its name.",
        )
    # As in the log: no secret is kept in a table.
    if may_hold_secrets(text):
        body = redact_data(body)
        text = canonical(body)
    if sealer.seals is not None:
        text = canonical(sealer.seal(body))
    values: dict[str, object] = {
        "run": address.run,
        "id": draft.id,
        "sender": address.mailbox,
        "topic": draft.topic,
        "conversation": draft.correlation or str(draft.id),
        "causation": draft.causation,
        "reply_to": draft.reply_to,
        "schema": draft.schema_name,
        "priority": draft.priority,
        "expires_in": draft.expires_in,
        "body": text,
        "delay": draft.delay,
        "answers": answers,
    }
    to = list(dict.fromkeys(draft.to))
    if len(to) == 1:
        values["mailbox"] = to[0]
        sql = statements.send(is_new=draft.correlation is None, is_reply=answers is not None)
        return Prepared(draft, HotQuery(sql, values), values, body)
    values["recipients"] = json.dumps(to)
    values["is_broadcast"] = not to
    return Prepared(draft, Query(statements.SEND_TO_MANY, values), values, body)


def store(messages: Sequence[Prepared], open: Callable[[str], Any]) -> Work[set[Address]]:
    """Store all of them or none; the mailboxes that have something new. One that was stored before is left as it is.

    Raises:
        MessageRefused: one of them is not taken; none was stored.
    """
    if len(messages) == 1:
        return (yield from _stored(messages[0], (yield [messages[0].query])[0], open))
    found: set[Address] = set()
    _, *answers = yield [BEGIN, *(message.query for message in messages)]
    for message, rows in zip(messages, answers, strict=True):
        found |= yield from _stored(message, rows, open)
    yield [COMMIT]
    return found


def _stored(message: Prepared, rows: Sequence[tuple[Any, ...]], open: Callable[[str], Any]) -> Work[set[Address]]:
    run = str(message.values["run"])
    if not rows:
        yield from _ensure_stored_before(message, open)
        return set()
    if "mailbox" in message.values:
        return {Address(run, str(message.values["mailbox"]))}
    return {Address(run, mailbox) for mailbox in rows[0][1]}


def _ensure_stored_before(message: Prepared, open: Callable[[str], Any]) -> Work[None]:
    values = message.values
    [(sender, mailbox, recipients, topic, conversation, schema, body, is_closed, expired_at)] = (
        yield [Query(statements.WHY_NOT, values)]
    )[0]
    if sender is not None:
        before = (sender, mailbox or recipients, topic, conversation, schema, open(body))
        to = values.get("mailbox") or json.loads(str(values["recipients"]))
        now = (values["sender"], to, values["topic"], values["conversation"], values["schema"], message.body)
        if before != now:
            raise MessageRefused(
                f"The message {message.draft.id} was sent before, and said something else.",
                remedy="Give another message another id.",
            )
    elif is_closed:
        raise MessageRefused(
            f"The run {values['run']} has ended, so nobody receives its messages any more.",
            remedy="Send it in a run that goes on.",
        )
    elif expired_at is not None:
        raise MessageRefused(
            f"The conversation expired at {expired_at:%Y-%m-%d %H:%M:%S %Z}, so the reply comes too late.",
            remedy="Send a new message where it still matters.",
        )
    else:
        raise TransientError("The message was not stored.", remedy="Send it again under the same id.")
