"""Slack and e-mail through Airflow connections, against real servers on loopback."""

from __future__ import annotations

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError, TransientError
from muster.local.postgres import free_port
from muster.notifications import NotConfigured, Notice, Sender
from muster_airflow.channels import channels
from muster_airflow.channels.email import EmailChannel
from muster_airflow.channels.slack import SlackChannel
from support.slack import SlackServer, slack_server
from support.smtp import Mailbox, smtp_server

SLACK_NOTICE = Notice(channel="slack", target="#finance-ops", text="R&D <!channel>\nPosted 3", key="r/tell[0]")
MAIL = Notice(
    channel="email",
    target="ops@example.com",
    subject="Prüfung nötig",
    text="Größe: 3 €\nzweite Zeile",
    key="r/tell[1]",
)


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """A Slack of our own."""
    with slack_server() as server:
        yield server


@pytest.fixture
def connect(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Sets an Airflow connection the way an operator does, by environment variable."""
    for name in ("MUSTER_SLACK", "MUSTER_SLACK_FINANCE_OPS", "MUSTER_SMTP"):
        monkeypatch.delenv(f"AIRFLOW_CONN_{name}", raising=False)

    def connect(conn_id: str, **fields: Any) -> None:
        monkeypatch.setenv(f"AIRFLOW_CONN_{conn_id.upper()}", json.dumps(fields))

    return connect


@pytest.fixture
def to_slack(connect: Any, slack: SlackServer) -> SlackServer:
    """Our Slack, connected."""
    connect("muster_slack", conn_type="slackwebhook", password=slack.url)
    return slack


def connect_mail(connect: Any, mailbox: Mailbox, **changes: Any) -> None:
    """Points `muster_smtp` at the mailbox, without encryption unless told."""
    extra = {"disable_ssl": True, "disable_tls": True, "from_email": "muster@example.org"} | changes.pop("extra", {})
    connect(
        "muster_smtp",
        **{"conn_type": "smtp", "host": "127.0.0.1", "port": mailbox.port, "extra": extra} | changes,
    )


async def test_slack_gets_the_text_escaped(to_slack: SlackServer) -> None:
    delivery = await SlackChannel().send(SLACK_NOTICE)
    assert [message["text"] for message in to_slack.messages] == ["R&amp;D &lt;!channel&gt;\nPosted 3"]
    assert (delivery.delivered_by, delivery.reference) == ("slack", "ok")
    assert "its webhook decides the channel" in delivery.note


async def test_a_connection_named_after_the_channel_is_preferred(to_slack: SlackServer, connect: Any) -> None:
    with slack_server() as own:
        connect(
            "muster_slack_finance_ops",
            conn_type="slackwebhook",
            host=own.endpoint,
            password="T000/B000/token",
        )
        delivery = await SlackChannel().send(SLACK_NOTICE)
    assert (len(own.messages), len(to_slack.messages), delivery.note) == (1, 0, "")


async def test_a_rate_limit_is_transient_and_says_how_long_to_wait(to_slack: SlackServer) -> None:
    to_slack.answers = [(429, "rate_limited", {"Retry-After": "7"})]
    with pytest.raises(TransientError) as caught:
        await SlackChannel().send(SLACK_NOTICE)
    assert caught.value.retry_after == 7
    assert to_slack.answers == []  # asked once: no hidden retry


@pytest.mark.parametrize(
    ("status", "answer", "kind"),
    [
        (500, "rollup_error", TransientError),
        (503, "", TransientError),
        (400, "invalid_payload", PermanentError),
        (403, "action_prohibited", PermanentError),
        (410, "channel_is_archived", PermanentError),
        (200, "<html>sign in</html>", PermanentError),
    ],
)
async def test_slacks_refusals_are_told_apart(
    to_slack: SlackServer, status: int, answer: str, kind: type[Exception]
) -> None:
    to_slack.answers = [(status, answer, {})]
    with pytest.raises(kind, match=str(status)):
        await SlackChannel().send(SLACK_NOTICE)


async def test_an_answer_that_never_came_is_transient_and_not_retried_unseen(to_slack: SlackServer) -> None:
    to_slack.hangs_up = True
    with pytest.raises(TransientError, match="could not be reached"):
        await SlackChannel().send(SLACK_NOTICE)
    assert len(to_slack.messages) == 1


async def test_a_revoked_webhook_is_permanent(slack: SlackServer, connect: Any) -> None:
    connect("muster_slack", conn_type="slackwebhook", password=f"{slack.endpoint}/T000/B000/revoked")
    with pytest.raises(PermanentError, match="404 no_service"):
        await SlackChannel().send(SLACK_NOTICE)


async def test_slack_out_of_reach_is_transient(connect: Any) -> None:
    connect("muster_slack", conn_type="slackwebhook", password=f"http://127.0.0.1:{free_port()}/services/x")
    with pytest.raises(TransientError, match="could not be reached"):
        await SlackChannel().send(SLACK_NOTICE)


@pytest.mark.parametrize("password", ["", "file:///etc/passwd"])
async def test_an_unusable_slack_connection_says_what_to_mend(connect: Any, password: str) -> None:
    connect("muster_slack", conn_type="slackwebhook", password=password)
    with pytest.raises(PermanentError, match="password field"):
        await SlackChannel().send(SLACK_NOTICE)


async def test_a_slow_channel_does_not_hold_the_event_loop(to_slack: SlackServer) -> None:
    to_slack.gate = threading.Event()
    sending = asyncio.create_task(SlackChannel().send(SLACK_NOTICE))
    longest, before = 0.0, time.monotonic()
    for _ in range(50):
        await asyncio.sleep(0.01)
        longest, before = max(longest, time.monotonic() - before), time.monotonic()
    assert not sending.done()
    to_slack.gate.set()
    await sending
    assert longest < 5, "the loop stood still for as long as the server waited"


async def test_mail_arrives_as_plain_text_under_a_stable_id(connect: Any, tmp_path: Path) -> None:
    with smtp_server(tmp_path) as mailbox:
        connect_mail(connect, mailbox)
        first, second = [await EmailChannel().send(MAIL) for _ in range(2)]
    mail = mailbox.mails[0]
    assert (mail["Subject"], mail["To"], mail["From"]) == (
        "Prüfung nötig",
        "ops@example.com",
        "muster@example.org",
    )
    assert mail.get_content_type() == "text/plain"
    assert mail.get_content().replace("\r\n", "\n") == "Größe: 3 €\nzweite Zeile\n"
    assert mailbox.envelopes[0].rcpt_tos == ["ops@example.com"]
    assert first.reference == second.reference == mail["Message-ID"] == mailbox.mails[1]["Message-ID"]
    assert first.reference.endswith("@example.org>")


async def test_mail_logs_in_over_starttls(connect: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with smtp_server(tmp_path, login="muster", password="correct horse", tls=True) as mailbox:
        monkeypatch.setenv("SSL_CERT_FILE", str(mailbox.certificate))
        connect_mail(connect, mailbox, login="muster", password="correct horse", extra={"disable_tls": False})
        await EmailChannel().send(MAIL)
    assert mailbox.encrypted == [True]


async def test_a_certificate_nobody_vouches_for_is_refused(connect: Any, tmp_path: Path) -> None:
    with smtp_server(tmp_path, login="muster", password="p", tls=True) as mailbox:
        connect_mail(connect, mailbox, login="muster", password="p", extra={"disable_tls": False})
        with pytest.raises(PermanentError, match="certificate"):
            await EmailChannel().send(MAIL)
    assert mailbox.mails == []


async def test_a_wrong_password_is_permanent_and_not_repeated_in_the_message(connect: Any, tmp_path: Path) -> None:
    with smtp_server(tmp_path, login="muster", password="right") as mailbox:
        connect_mail(connect, mailbox, login="muster", password="wr0ng-secret")
        with pytest.raises(PermanentError, match="535") as caught:
            await EmailChannel().send(MAIL)
    assert "wr0ng-secret" not in str(caught.value)


@pytest.mark.parametrize(("reply", "kind"), [("451 try later", TransientError), ("554 spam", PermanentError)])
async def test_a_mail_server_that_refuses_the_message(
    connect: Any, tmp_path: Path, reply: str, kind: type[Exception]
) -> None:
    with smtp_server(tmp_path) as mailbox:
        mailbox.refuse_data = reply
        connect_mail(connect, mailbox)
        with pytest.raises(kind, match=reply):
            await EmailChannel().send(MAIL)


@pytest.mark.parametrize(("reply", "kind"), [("450 greylisted", TransientError), ("550 no such user", PermanentError)])
async def test_a_mail_server_that_refuses_the_recipient(
    connect: Any, tmp_path: Path, reply: str, kind: type[Exception]
) -> None:
    with smtp_server(tmp_path) as mailbox:
        mailbox.refuse_recipient = reply
        connect_mail(connect, mailbox)
        with pytest.raises(kind, match=reply):
            await EmailChannel().send(MAIL)


async def test_a_mail_server_out_of_reach_is_transient(connect: Any) -> None:
    connect_mail(connect, Mailbox(port=free_port()))
    with pytest.raises(TransientError):
        await EmailChannel().send(MAIL)


async def test_a_mail_connection_without_a_sender_says_so(connect: Any, tmp_path: Path) -> None:
    with smtp_server(tmp_path) as mailbox:
        connect_mail(connect, mailbox, extra={"from_email": ""})
        with pytest.raises(PermanentError, match="from_email"):
            await EmailChannel().send(MAIL)


@pytest.mark.parametrize("notice", [SLACK_NOTICE, MAIL])
async def test_without_connections_the_outbox_keeps_the_notice_and_names_what_is_missing(
    connect: Any, database: Database, notice: Notice
) -> None:
    delivery = await Sender(database, channels()).send(notice)
    assert delivery.delivered_by == "outbox"
    assert {"slack": "'muster_slack'", "email": "'muster_smtp'"}[notice.channel] in delivery.note
    with pytest.raises(NotConfigured):
        await channels()[notice.channel].send(notice)


async def test_a_429_is_retried_by_the_caller_and_arrives_once(to_slack: SlackServer, database: Database) -> None:
    to_slack.answers = [(429, "rate_limited", {"Retry-After": "1"})]
    sender = Sender(database, channels())
    with pytest.raises(TransientError):
        await sender.send(SLACK_NOTICE)
    await sender.send(SLACK_NOTICE)
    assert (await sender.send(SLACK_NOTICE)).repeated
    assert len(to_slack.messages) == 1
