"""What happens outside happens once, wherever its process dies: before it, or after it with nothing written down."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
from lxml import etree

from muster.database import Database
from muster.recovery.ledger import Ledger
from support.bank import BankServer
from support.deaths import Deaths, Work
from support.ledger import company
from support.outside import (
    charge_once,
    charge_once_in_triggerer,
    charge_unasked,
    notify,
    pay_and_withdraw,
    pay_one,
    post_and_reverse,
    post_one,
    reverse_one,
    withdraw_one,
)
from support.slack import SlackServer, slack_server


@pytest.fixture(scope="module")
def deaths() -> Deaths:
    """Processes that die."""
    return Deaths("support.outside")


@pytest.fixture
def slack() -> Iterator[SlackServer]:
    """A Slack of our own."""
    with slack_server() as server:
        yield server


def time_passes(dsn: str) -> None:
    """The claims of who died have run out."""
    with psycopg.connect(dsn) as connection:
        for table, status in (("effects", "begun"), ("outbox", "pending")):
            connection.execute(
                f"UPDATE {table} SET claimed_until = clock_timestamp() - interval '1 s' WHERE status = %s", [status]
            )


@pytest.mark.parametrize("work", [charge_once, charge_once_in_triggerer])
def test_an_effect_that_can_be_asked_about_happens_once(dsn: str, bank: BankServer, work: Work, deaths: Deaths) -> None:
    names = []
    for name in deaths.each(work, dsn, bank.url):
        names.append(name)
        before = bank.charges[name]
        time_passes(dsn)
        deaths.perform(work, dsn, bank.url, name)
        assert bank.charges[name] == 1, f"{name}, which had charged {before} times"
    assert len(names) >= 4


def test_an_effect_that_nobody_can_ask_about_never_happens_twice(
    dsn: str, bank: BankServer, database: Database, deaths: Deaths
) -> None:
    died_after = set()
    for name in deaths.each(charge_unasked, dsn, bank.url):
        died_after.add(bank.charges[name])
        time_passes(dsn)
        deaths.perform(charge_unasked, dsn, bank.url, name)
        entry = next(it for it in Ledger(database).entries() if it.key == name)
        assert (bank.charges[name], entry.status) in ((1, "done"), (0, "unknown"), (1, "unknown"))
    assert died_after == {0, 1}, "it died before and after it had charged"


def test_a_notice_is_sent_again_only_when_nothing_is_known_of_the_first(
    dsn: str, slack: SlackServer, deaths: Deaths
) -> None:
    before = Counter[int]()
    for name in deaths.each(notify, dsn, slack.url):
        had = [message["text"] for message in slack.messages].count(name)
        time_passes(dsn)
        deaths.perform(notify, dsn, slack.url, name)
        deaths.perform(notify, dsn, slack.url, name)
        times = [message["text"] for message in slack.messages].count(name)
        assert times in (1, 1 + had), "nobody can ask Slack"
        before[times] += 1
    assert before[2] <= 3, "it has died between the answer and the record of it, nowhere else"
    assert before[1] >= 8


def posted(dsn: str, name: str) -> tuple[int, int, bool]:
    """How many postings of the run there are, how many reversals, and whether its invoice is posted."""
    postings = (
        "SELECT count(*) FILTER (WHERE reverses IS NULL), count(reverses) FROM finance.postings"
        " WHERE key LIKE %(run)s || '/%%'"
    )
    with psycopg.connect(dsn) as connection:
        difference = connection.execute("SELECT coalesce(sum(debit - credit), 0) FROM finance.entries").fetchone()
        assert difference == (0,)
        there = connection.execute(
            "SELECT FROM finance.invoices WHERE number = %s AND posting_id IS NOT NULL", [name]
        ).fetchone()
        row = connection.execute(postings, {"run": f"invoices/{name}"}).fetchone()
        assert row is not None
        return (*row, there is not None)


def test_an_invoice_is_posted_once(dsn: str, database: Database, tmp_path: Path, deaths: Deaths) -> None:
    company(database, tmp_path)
    before = set()
    for name in deaths.each(post_one, dsn, tmp_path):
        before.add(posted(dsn, name))
        deaths.perform(post_one, dsn, tmp_path, name)
        assert posted(dsn, name) == (1, 0, True)
    assert before == {(0, 0, False), (1, 0, True)}


def test_a_posting_is_reversed_once_and_only_when_there_is_one(
    dsn: str, database: Database, tmp_path: Path, deaths: Deaths
) -> None:
    company(database, tmp_path)
    before, after = set(), set()
    for name in deaths.each(post_and_reverse, dsn, tmp_path):
        before.add(posted(dsn, name))
        deaths.perform(reverse_one, dsn, tmp_path, name)
        after.add(posted(dsn, name))
    assert before == {(0, 0, False), (1, 0, True), (1, 1, False)}
    assert after == {(0, 0, False), (1, 1, False)}


def proposed(dsn: str, folder: Path, name: str) -> tuple[int, int, tuple[str, ...]]:
    """How many proposals the run has, how many payments, and its files; each of them is whole."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(DISTINCT o.id), count(p.proposal_id) FROM finance.payment_proposals o"
            " LEFT JOIN finance.payments p ON p.proposal_id = o.id WHERE o.key LIKE %s || '/%%'",
            [f"invoices/{name}"],
        ).fetchone()
    assert row is not None
    files = [file for file in sorted((folder / "invoices" / name).glob("*")) if not file.name.startswith(".")]
    for file in files:
        assert etree.parse(file).getroot().tag.endswith("}Document")
    return (*row, tuple(file.suffix for file in files))


def test_a_payment_is_proposed_once_in_a_file_that_is_whole(
    dsn: str, database: Database, tmp_path: Path, deaths: Deaths
) -> None:
    company(database, tmp_path)
    before = []
    for name in deaths.each(pay_one, dsn, tmp_path):
        before.append(proposed(dsn, tmp_path, name))
        deaths.perform(pay_one, dsn, tmp_path, name)
        assert proposed(dsn, tmp_path, name) == (1, 1, (".xml",))
        assert [file.suffix for file in (tmp_path / "invoices" / name).iterdir()] == [".xml"], "nor is a draft left"
    assert (0, 0, ()) in before
    assert (1, 1, ()) in before, "it died before it had written the file"


def test_a_payment_is_withdrawn_with_its_file(dsn: str, database: Database, tmp_path: Path, deaths: Deaths) -> None:
    company(database, tmp_path)
    after = []
    for name in deaths.each(pay_and_withdraw, dsn, tmp_path):
        deaths.perform(withdraw_one, dsn, tmp_path, name)
        after.append(proposed(dsn, tmp_path, name))
    assert {(proposals, payments) for proposals, payments, _ in after} == {(0, 0)}
    assert {files for _, _, files in after} == {(), (".withdrawn",)}


def test_a_payment_file_whose_process_stalls_while_it_is_withdrawn_does_not_come_back(
    dsn: str, database: Database, tmp_path: Path, deaths: Deaths
) -> None:
    """Wherever it stalls, a file that lies there for the bank is one that the ledger knows."""
    company(database, tmp_path)
    found = set()
    for name, go_on in deaths.stalls(pay_one, dsn, tmp_path):
        with deaths.start(withdraw_one, dsn, tmp_path, name) as withdrawing:
            while withdrawing.is_alive() and not somebody_waits(dsn):
                withdrawing.join(0.02)
            go_on()
            withdrawing.join(60)
            assert withdrawing.exitcode == 0
        proposals, _, suffixes = proposed(dsn, tmp_path, name)
        assert suffixes.count(".xml") == proposals, f"{name} left {suffixes}"
        found.add((proposals, *suffixes))
    assert found >= {(1, ".xml"), (0,), (0, ".withdrawn")}, (
        "it stalled before the proposal, between it and its file, after"
    )


def test_two_attempts_at_a_payment_write_one_file_and_both_succeed(
    dsn: str, database: Database, tmp_path: Path, deaths: Deaths
) -> None:
    """Wherever one of them stalls while the other clears up behind itself."""
    company(database, tmp_path)
    for name, go_on in deaths.stalls(pay_one, dsn, tmp_path):
        with deaths.start(pay_one, dsn, tmp_path, name) as other:
            while other.is_alive() and not somebody_waits(dsn):
                other.join(0.02)
            assert go_on() == 0
            other.join(60)
            assert other.exitcode == 0
        assert proposed(dsn, tmp_path, name) == (1, 1, (".xml",))
        assert [file.suffix for file in (tmp_path / "invoices" / name).iterdir()] == [".xml"]


@pytest.mark.parametrize("work", [pay_one, pay_and_withdraw])
def test_nor_does_one_whose_process_has_lost_its_connection_and_its_locks_meanwhile(
    dsn: str, database: Database, tmp_path: Path, deaths: Deaths, work: Work
) -> None:
    company(database, tmp_path)
    withdrawn, found = set(), set()
    for name, go_on in deaths.stalls(work, dsn, tmp_path):
        cut_connections(dsn)
        deaths.perform(withdraw_one, dsn, tmp_path, name)
        withdrawn.add(proposed(dsn, tmp_path, name))
        go_on()
        proposals, _, suffixes = proposed(dsn, tmp_path, name)
        assert suffixes.count(".xml") == proposals, f"{name} left {suffixes}"
        found.add((proposals, *suffixes))
    assert withdrawn == {(0, 0, ()), (0, 0, (".withdrawn",))}
    # Before it has a connection it has nothing to lose: nothing here stops it from proposing.
    assert {(0,), (0, ".withdrawn")} <= found <= {(0,), (0, ".withdrawn"), (1, ".xml")}


def somebody_waits(dsn: str) -> bool:
    """True when a process waits for a lock that another has."""
    with psycopg.connect(dsn) as connection:
        row = connection.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = current_database()"
        ).fetchone()
    return row is not None and row[0] > 0


def cut_connections(dsn: str) -> None:
    """Nobody has one any more: what they had locked is free."""
    with psycopg.connect(dsn, autocommit=True) as connection:
        connection.execute(
            "SELECT pg_terminate_backend(pid, 10000) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
