"""Slack and e-mail through Airflow's connections and the hooks of its providers."""

from __future__ import annotations

import asyncio
import re
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseHook, Connection
from airflow.sdk.exceptions import AirflowException, AirflowNotFoundException

from muster.database import Database
from muster.errors import ErrorClass, MusterError, PermanentError, TransientError
from muster.failures import class_of_status, parse_retry_after
from muster.notifications import Channel, ChannelName, Delivery, NotConfigured, Notice, Sender
from muster.notifications.sender import SealsOf
from muster.notifications.slack import slack_text
from muster.recovery import NotPerformed
from muster_airflow.connections import learn_connection

if TYPE_CHECKING:
    from slack_sdk.webhook import WebhookResponse

SLACK = "muster_slack"
"""The connection of type `slackwebhook`; `muster_slack_<channel>` is preferred where it exists."""
SMTP_CONNECTION = "muster_smtp"
"""The connection of type `smtp`."""
TIMEOUT = 20
"""Seconds to wait for the other side to answer."""
AUTH_REFUSED = {530, 534, 535, 538}
"""What a mail server answers to a login it does not take, RFC 4954 section 6."""
PASSING = {ErrorClass.RATE_LIMIT, ErrorClass.OVERLOAD, ErrorClass.TIMEOUT, ErrorClass.TRANSIENT}
"""HTTP answers after which trying again can help."""


def channels() -> dict[ChannelName, Channel]:
    """The channels of this installation; each finds out on sending whether its connection exists."""
    return {"slack": SlackChannel(), "email": EmailChannel()}


def airflow_sender(database: Database, seals: SealsOf) -> Sender:
    """Sends through this installation's connections, else into the outbox of `database`."""
    return Sender(database, channels(), seals=seals)


async def find_connection(*ids: str) -> Connection:
    """The first of these connections that exists.

    Raises:
        NotConfigured: there is none.
    """
    for conn_id in ids:
        try:
            # The sync lookup would block or deadlock the triggerer's event loop.
            connection: Connection = await BaseHook.aget_connection(conn_id)
        except AirflowNotFoundException:
            continue
        learn_connection(connection)
        return connection
    raise NotConfigured(f"there is no connection {ids[-1]!r}.")


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
        hook = _resolved(SlackWebhookHook, connection)(
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


class EmailChannel:
    """E-mail over SMTP, as plain text, under a Message-ID that every attempt shares."""

    async def send(self, notice: Notice) -> Delivery:
        """Hand it to the mail server."""
        connection = await find_connection(SMTP_CONNECTION)
        message_id = await asyncio.to_thread(self._submit, connection, notice)
        return Delivery(delivered_by="smtp", target=notice.target, reference=message_id)

    @staticmethod
    def _submit(connection: Connection, notice: Notice) -> str:
        from airflow.providers.smtp.hooks.smtp import SmtpHook

        class Submission(_resolved(SmtpHook, connection)):  # type: ignore[misc]
            """The provider's hook, sending a message that we have built, once."""

            smtp_retry_limit = 0

            def get_conn(self) -> SmtpHook:
                """Log in; a login that fails leaves no socket open."""
                try:
                    return super().get_conn()
                except BaseException:
                    if self._smtp_client is not None:
                        self._smtp_client.close()
                    raise

            def submit(self, message: EmailMessage) -> None:
                """Send over the connection that `with` has opened."""
                self._smtp_client.send_message(message)

        hook = Submission(smtp_conn_id=connection.conn_id)
        hook.smtp_connection = connection
        message = _message(notice, hook.from_email or connection.login)
        try:
            with hook:
                hook.submit(message)
        except Exception as error:
            raise _mail_error(error, notice) from error
        return str(message["Message-ID"])


def _resolved(hook: type[Any], connection: Connection) -> type[Any]:
    """The hook with its connection already looked up, so that it may run in any thread."""
    return type(hook.__name__, (hook,), {"get_connection": classmethod(lambda cls, conn_id: connection)})


def _message(notice: Notice, sender: str | None) -> EmailMessage:
    if not sender or "@" not in sender:
        raise PermanentError(
            f"The connection {SMTP_CONNECTION!r} names no sender.",
            remedy="Set `from_email` in its extra fields.",
        )
    message = EmailMessage(policy=SMTP)
    message["From"] = sender
    message["To"] = notice.target
    message["Subject"] = notice.headline
    message["Date"] = formatdate(localtime=False)
    message["Message-ID"] = notice.message_id(sender.rpartition("@")[2].strip("> "))
    # Out-of-office replies to a machine help nobody.
    message["Auto-Submitted"] = "auto-generated"
    message.set_content(notice.text)
    return message


def _mail_error(error: Exception, notice: Notice) -> MusterError:
    remedy = f"Check the connection {SMTP_CONNECTION!r}."
    match error:
        case MusterError():
            return error
        case smtplib.SMTPRecipientsRefused(recipients=refused):
            code, reply = next(iter(refused.values()))
            return _by_code(
                code, f"The mail server refused {notice.target}: {code} {_text(reply)}.", "Check the address."
            )
        case smtplib.SMTPResponseException(smtp_code=code, smtp_error=reply):
            return _by_code(code, f"The mail server answered {code} {_text(reply)}.", remedy)
        case smtplib.SMTPServerDisconnected():
            return TransientError(f"The mail server hung up: {error}.")
        case smtplib.SMTPException() | ssl.SSLError():
            return PermanentError(
                f"The mail server cannot do what the connection asks for: {error}.",
                remedy=f"{remedy} `disable_ssl` and `disable_tls` choose plain, STARTTLS or TLS.",
            )
        case socket.gaierror() | ConnectionRefusedError():
            return NotPerformed(f"The mail server could not be reached: {error}.", remedy=remedy)
        case OSError():
            return TransientError(f"The mail server could not be reached: {error}.", remedy=remedy)
        case AirflowException() if isinstance(error.__context__, smtplib.SMTPServerDisconnected):
            return TransientError(f"The mail server hung up: {error.__context__}.")
    return PermanentError(f"The e-mail could not be sent: {type(error).__name__}: {error}.", remedy=remedy)


def _by_code(code: int, message: str, remedy: str) -> MusterError:
    # 4xx is "try again later" and 5xx "never", RFC 5321 section 4.2.1.
    if 400 <= code < 500:
        return TransientError(message, error_class=ErrorClass.OVERLOAD if code == 421 else None)
    kind = ErrorClass.AUTH if code in AUTH_REFUSED else ErrorClass.BAD_REQUEST
    return PermanentError(message, remedy=remedy, error_class=kind)


def _text(reply: bytes | str) -> str:
    return reply.decode(errors="replace") if isinstance(reply, bytes) else reply
