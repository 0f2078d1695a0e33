"""`Notice`, its `Delivery`, and the interface of a `Channel`."""

from __future__ import annotations

import hashlib
import unicodedata
from datetime import datetime
from typing import Annotated, Protocol

from pydantic import (
    AfterValidator,
    BaseModel,
    ConfigDict,
    Field,
    ModelWrapValidatorHandler,
    ValidationError,
    ValidationInfo,
    field_validator,
    model_validator,
)

from muster.errors import PermanentError
from muster.language.channels import CHANNELS
from muster.misfits import misfits
from muster.redaction import redact

LINE_SEPARATORS = "\x85\u2028\u2029"


class NotConfigured(PermanentError):
    """The channel has no connection; the notice is kept in the outbox, and people read it there."""


def _one_line(value: str) -> str:
    # A line break inside a header would let data from a document add headers or recipients of its own.
    if any(unicodedata.category(char) in {"Cc", "Cs"} or char in LINE_SEPARATORS for char in value):
        raise PermanentError(
            f"A notice's header must be one line of plain text, not {value!r}.",
            remedy="Remove line breaks and control characters from the subject and the target.",
        )
    return value


def _printable(value: str) -> str:
    # PostgreSQL stores no NUL, and UTF-8 has no lone surrogates.
    kept = (char if char in "\n\t" or unicodedata.category(char) not in {"Cc", "Cs"} else "\ufffd" for char in value)
    return "".join(kept)


class Notice(BaseModel):
    """One message to one place. Data is data: nothing in it can add a header, a recipient or a mention.

    Raises:
        PermanentError: a field is missing, unknown, of the wrong type or unsafe.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", coerce_numbers_to_str=True)

    channel: str
    """How it is meant to travel: one of `CHANNELS`."""
    target: Annotated[str, Field(min_length=1, max_length=320), AfterValidator(_one_line)]
    """A place that the channel delivers to, such as `#finance-ops` or one e-mail address."""
    subject: Annotated[str, Field(max_length=900), AfterValidator(_one_line), AfterValidator(redact)] = ""
    """One line; a channel without subjects leaves it out. Empty: the first line of the text."""
    text: Annotated[str, AfterValidator(_printable), AfterValidator(redact)]
    """Plain text; several lines are fine. Secrets are redacted, here and in the subject."""
    key: Annotated[str, Field(min_length=1, max_length=1000), AfterValidator(_one_line)]
    """Idempotency key: the same in every attempt to send this notice."""
    run: str | None = None
    """The run it belongs to, when it belongs to one."""
    anew: bool = False
    """True when it may take the place of one with its key that was withdrawn, because whom that was about was forgotten
    before it was sent: its words were made after that.
    """

    @field_validator("channel")
    @classmethod
    def _is_known(cls, value: str) -> str:
        if value not in CHANNELS:
            raise ValueError(f"must be one of {', '.join(CHANNELS)}")
        return value

    @field_validator("target")
    @classmethod
    def _is_deliverable(cls, value: str, info: ValidationInfo) -> str:
        channel = CHANNELS.get(info.data.get("channel", ""))
        if channel is not None and not channel.is_target(value):
            raise PermanentError(f"{value!r} is not {channel.wanted}.", remedy=channel.remedy)
        return value

    @model_validator(mode="wrap")
    @classmethod
    def _refuse(cls, values: object, validate: ModelWrapValidatorHandler[Notice]) -> Notice:
        try:
            return validate(values)
        except ValidationError as error:
            raise PermanentError(f"This is not a notice that can be sent: {'; '.join(misfits(error))}.") from error

    @property
    def headline(self) -> str:
        """The subject, or the first line of the text where there is none; at most 150 characters."""
        return self.subject or next((line for line in self.text.splitlines() if line.strip()), "Notice")[:150].strip()

    def message_id(self, domain: str) -> str:
        """The e-mail's Message-ID: the same in every attempt, so that mail systems can drop a repetition."""
        return f"<{hashlib.sha256(self.key.encode()).hexdigest()[:40]}@{domain}>"


class Delivery(BaseModel):
    """What became of a notice."""

    model_config = ConfigDict(frozen=True)

    delivered_by: str
    """What carried it, `smtp` for example; `outbox` means that nobody outside has been told."""
    target: str
    """Where it went."""
    reference: str
    """The e-mail's Message-ID, Slack's answer, or `outbox/<id>`."""
    note: str = ""
    """One plain sentence for the reader when something is worth knowing."""
    at: datetime | None = None
    """When it was settled, with its zone."""
    repeated: bool = False
    """True when an earlier attempt had already delivered it and nothing was sent now."""


class Channel(Protocol):
    """One way to tell people something."""

    async def send(self, notice: Notice) -> Delivery:
        """Send it once and return when the other side has accepted it.

        Raises:
            NotConfigured: the channel has no connection; the notice goes to the outbox.
            TransientError: trying later can help; `retry_after` is what the other side asked for.
            PermanentError: trying again cannot help.
        """
        ...
