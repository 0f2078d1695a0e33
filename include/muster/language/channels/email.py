"""`email`: e-mails."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from muster.language.channel_kind import ChannelKind
from muster.language.fields import Line, Text, Words
from muster.yaml_model import YamlModel


class EmailTarget(YamlModel):
    """An e-mail."""

    email: Annotated[Words, Field(min_length=1)]
    """The address, or a list of addresses; in a step an expression may give several."""
    subject: Line | None = None
    """The subject; default: the automation's title."""
    text: Text | None = None
    """The message. A step must say it; a deadline has a text of its own."""


def is_address(text: str) -> bool:
    """True for one e-mail address and nothing else, as in `office@example.com`."""
    from email.errors import HeaderParseError
    from email.headerregistry import Address

    try:
        address = Address(addr_spec=text)
    except (ValueError, IndexError, HeaderParseError):
        return False
    return bool(address.username) and "." in address.domain.strip(".")


CHANNEL = ChannelKind(
    name="email",
    title="e-mail",
    place=20,
    model=EmailTarget,
    carrier="smtp",
    connection="muster_smtp",
    is_target=is_address,
    wanted="one e-mail address",
    remedy="Write the address alone, as in `office@example.com`.",
)
