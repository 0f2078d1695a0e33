"""How a notice reads in Slack."""

from __future__ import annotations

import re

from muster.notifications.model import Notice

MAX_TEXT = 39_000
"""Characters; Slack cuts a text off at 40,000."""


def slack_text(notice: Notice) -> str:
    """The notice as Slack text, its three special characters escaped: data can neither mention nor link.

    Source: https://docs.slack.dev/messaging/formatting-message-text, "Escaping text".
    """
    escaped = notice.text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    if len(escaped) <= MAX_TEXT:
        return escaped
    # The cut must not leave half an entity behind.
    return f"{re.sub('&[a-z]{0,3}$', '', escaped[:MAX_TEXT])} …"
