"""`slack`: messages to Slack's channels."""

from __future__ import annotations

from pydantic import Field

from muster.language.channel_kind import ChannelKind
from muster.language.fields import Text
from muster.yaml_model import YamlModel


class SlackTarget(YamlModel):
    """A message to a Slack channel."""

    slack: str = Field(min_length=2, max_length=200)
    """The channel, `#name` or only `name`, or a member's id."""
    text: Text | None = None
    """The message. A step must say it; a deadline has a text of its own."""


CHANNEL = ChannelKind(
    name="slack",
    title="Slack",
    place=10,
    model=SlackTarget,
    carrier="slack",
    connection="muster_slack",
)
