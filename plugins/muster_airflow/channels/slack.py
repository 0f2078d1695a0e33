"""`slack` through the hook of Airflow's provider."""

from __future__ import annotations

import asyncio
import re
from typing import TYPE_CHECKING

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowNotFoundException

from muster.errors import ErrorClass, PermanentError, TransientError
from muster.failures import class_of_status, parse_retry_after
from muster.language.channels import CHANNELS
from muster.notifications import Delivery, Notice
from muster.notifications.slack import slack_text
from muster_airflow.notifications import find_connection, resolved

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookResponse

SLACK = CHANNELS["slack"].connection
"""The connection of type `slackwebhook`; `muster_slack_<channel>` is preferred where it exists."""
TIMEOUT = 20
"""Seconds to wait for the other side to answer."""
PASSING = {ErrorClass.RATE_LIMIT, ErrorClass.OVERLOAD, ErrorClass.TIMEOUT, ErrorClass.TRANSIENT}
"""HTTP answers after which trying again can help."""


class SlackChannel:
    """Slack's incoming webhooks.

    A webhook belongs to one channel. `muster_slack_finance_ops` delivers `#finance-ops`; without it
    `muster_slack` delivers, into whatever channel its webhook was made for, and the delivery says so.
    """

    async def send(self, notice: Notice) -> Delivery:
        """Post it; Slack knows no idempotency key, so a repeated post is a second message."""
        own = f"{SLACK}_{re.sub(r'[^a-z0-9]+', '_', notice.target.lower()).strip('_')}"
        connection = await find_connection(own, SLACK)
        response = await asyncio.to_thread(self._post, connection, slack_text(notice))
        self._check(response)
        general = connection.conn_id == SLACK
        note = f"Sent through {SLACK!r}: its webhook decides the channel." if general else ""
        return Delivery(delivered_by="slack", target=notice.target, reference=response.body.strip(), note=note)

    @staticmethod
    def _post(connection: Connection, text: str) -> WebhookResponse:
        from airflow.providers.slack.hooks.slack_webhook import SlackWebhookHook
        from slack_sdk.errors import SlackClientError

        # No retry handlers: the step's own `retry` decides, and knows what was sent before.
        hook = resolved(SlackWebhookHook, connection)(
            slack_webhook_conn_id=connection.conn_id, timeout=TIMEOUT, retry_handlers=[]
        )
        try:
            return hook.client.send(text=text, unfurl_links=False)
        except AirflowNotFoundException as error:
            raise PermanentError(
                f"The connection {connection.conn_id!r} has no webhook token.",
                remedy="Put it into its password field.",
            ) from error
        except (OSError, TimeoutError) as error:
            raise TransientError(f"Slack could not be reached: {error}.") from error
        except (SlackClientError, ValueError) as error:
            raise PermanentError(
                f"The connection {connection.conn_id!r} holds no usable webhook URL.",
                remedy="Copy the whole URL that Slack shows into its password field.",
            ) from error

    @staticmethod
    def _check(response: WebhookResponse) -> None:
        status, answer = response.status_code, response.body.strip()[:200]
        if status == 200 and (answer == "ok" or '"ok":true' in answer.replace(" ", "")):
            return
        kind = class_of_status(status)
        if kind in PASSING:
            raise TransientError(
                f"Slack answered {status} {answer}.",
                retry_after=parse_retry_after(response.headers.get("Retry-After")),
                error_class=kind,
            )
        raise PermanentError(
            f"Slack refused the message: {status} {answer}.",
            remedy=f"Check the webhook in the connection {SLACK!r}; Slack may have revoked it.",
            error_class=kind,
        )


CHANNEL = SlackChannel()
