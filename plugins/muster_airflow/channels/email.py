"""`email` over SMTP, through the hook of Airflow's provider."""

from __future__ import annotations

import asyncio
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.policy import SMTP
from email.utils import formatdate

from airflow.sdk import Connection
from airflow.sdk.exceptions import AirflowException

from muster.errors import ErrorClass, MusterError, PermanentError, TransientError
from muster.language.channels import CHANNELS
from muster.notifications import Delivery, Notice
from muster.recovery import NotPerformed
from muster_airflow.notifications import find_connection, resolved

SMTP_CONNECTION = CHANNELS["email"].connection
"""The connection of type `smtp`."""
AUTH_REFUSED = {530, 534, 535, 538}
"""What a mail server answers to a login it does not take, RFC 4954 section 6."""


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

        class Submission(resolved(SmtpHook, connection)):  # type: ignore[misc]
            """The provider's hook, sending a message that we have built, once."""

            # A retry inside the hook would send a mail again of which only the answer was lost. The step's `retry`
            # decides.
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
        # Nothing was sent, so it is surely not delivered. After any other network error it may have been.
        case socket.gaierror() | ConnectionRefusedError():
            return NotPerformed(f"The mail server could not be reached: {error}.", remedy=remedy)
        case OSError():
            return TransientError(f"The mail server could not be reached: {error}.", remedy=remedy)
        # The hook raises an error of its own for a connection that was lost.
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


CHANNEL = EmailChannel()
