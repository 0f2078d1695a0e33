"""What automations declare under `checks` is asked as a query or of a skill, when its time has come."""

from __future__ import annotations

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from muster.errors import DatabaseLost, TransientError
from muster.execution import checking
from muster.execution.checking import broken_checks, is_due
from muster.language.definition import Definition, ResolvedCheck
from muster.operations.reconciling import Discrepancy, Scope, ask_checks
from muster.recovery.consistency import Violation
from muster.redaction import REDACTED, learn
from support.runs import Site
from support.sources import source_of

NOW = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
SKILLS = source_of(__file__, "checking")
pytestmark = pytest.mark.skills(books=SKILLS)
MEETING = '''
import threading
from muster.skills import skill

everyone = threading.Barrier(3)

@skill("books.meet")
def meet() -> None:
    """Comes back once three are asked at the same time."""
    everyone.wait(60)
'''
BOOKS = """automation: books
incidents: [{slack: "#books"}]
checks: [CHECKS]
steps: [{id: tell, notify: [{slack: "#x", text: y}]}]
"""


def books(site: Site, *checks: str) -> Definition:
    return site.definition(BOOKS.replace("CHECKS", ", ".join(checks)))


def asked(site: Site, answer: str) -> list[Violation]:
    definition = books(site, f"{{name: it, skill: books.look, with: {{answer: '{answer}'}}}}")
    services = site.services
    found: list[Violation] = site.do(
        broken_checks(definition, services.database, artifacts=services.artifacts, site=services.site, now=NOW)
    )
    return found


@pytest.mark.parametrize("answer", ["true", "null", "[]", '""'])
def test_a_skill_that_has_nothing_to_say_holds(site: Site, answer: str) -> None:
    assert asked(site, answer) == []


@pytest.mark.parametrize(
    ("answer", "message"),
    [
        ("false", "it does not hold"),
        ('"off by 3"', "off by 3"),
        ('[[17, "3.00"], "and 18"]', "17, 3.00; and 18"),
        ("refuse", "17 is not balanced"),
        ("break", "it cannot be asked: ZeroDivisionError: oops"),
    ],
)
def test_what_a_skill_gives_back_is_what_is_wrong(site: Site, answer: str, message: str) -> None:
    assert asked(site, answer) == [Violation("it", message)]


def test_a_skill_that_cannot_look_now_is_asked_again_later(site: Site) -> None:
    with pytest.raises(TransientError, match="does not answer"):
        asked(site, "later")


def test_a_skill_that_does_not_come_back_is_told_and_keeps_nothing_waiting(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checking, "LONGEST_WAIT", 0.2)
    assert asked(site, "hang") == [Violation("it", "it cannot be asked: books.look takes longer than 0.2 s")]


def test_nor_is_one_with_a_timeout_of_its_own_asked_for_ever_with_nobody_told(site: Site) -> None:
    site.skills("books", SKILLS.replace('"books.look"', '"books.look", timeout=0.3'))
    assert asked(site, "hang") == [Violation("it", "it cannot be asked: books.look takes longer than 0.3 s")]


@pytest.mark.parametrize("how", ["raise ValueError", "raise PermanentError", "return [*]"])
def test_no_secret_stands_in_what_is_wrong(site: Site, how: str) -> None:
    secret = "Zq8xW1pL9v-abc77"
    learn(secret)
    answers = how.replace("[*]", f"['{secret}']") if "*" in how else f"{how}('{secret}')"
    site.skills("books", f"{SKILLS.partition('    assert')[0]}    {answers}\n")
    (found,) = asked(site, "true")
    assert REDACTED in found.text
    assert secret not in found.text


@pytest.mark.parametrize(
    ("schedule", "since", "due"),
    [
        (None, timedelta(minutes=1), True),
        ("0 6 * * *", timedelta(hours=1), False),
        ("0 6 * * *", timedelta(hours=7), True),
        ("0 6 * * *", None, True),
        ("@hourly", timedelta(minutes=61), True),
        ("@quarterly", timedelta(days=50), False),
        ("@quarterly", timedelta(days=100), True),
    ],
)
def test_a_check_is_due_when_its_time_came_since_it_was_asked_last(
    schedule: str | None, since: timedelta | None, due: bool
) -> None:
    check = ResolvedCheck(name="it", sql="SELECT 1", schedule=schedule)
    assert is_due(check, None if since is None else NOW - since, NOW) is due


class Nothing:
    """An Airflow that is not asked."""

    def __getattr__(self, name: str) -> Any:
        raise AssertionError(name)


def test_one_that_cannot_be_asked_now_keeps_no_other_from_being_asked_and_told(site: Site) -> None:
    bank = books(
        site,
        "{name: it, skill: books.look, with: {answer: later}}",
        "{name: same, sql: SELECT 1}",
    )
    other = site.definition(
        BOOKS.replace("automation: books", "automation: others").replace("CHECKS", "{name: next, sql: SELECT 2}")
    )
    services = site.services

    def send(notice: Any) -> None:
        site.do(services.notices.send(notice))

    scope = Scope(database=services.database, airflow=Nothing(), now=NOW, send=send)
    with pytest.raises(TransientError, match="does not answer"):
        ask_checks(scope, [bank, other], artifacts=services.artifacts, site=services.site)
    told = [entry.key for entry in services.notices.outbox.entries()]
    assert any("books/same" in key for key in told), told
    assert any("others/next" in key for key in told), told


def test_checks_are_asked_at_the_same_time_so_that_several_that_hang_take_no_longer_than_one(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    site.skills("books", MEETING)
    monkeypatch.setattr(checking, "LONGEST_WAIT", 5.0)
    one = books(site, *(f"{{name: {name}, skill: books.meet}}" for name in ("first", "second")))
    source = BOOKS.replace("automation: books", "automation: others").replace("CHECKS", "{name: it, skill: books.meet}")
    services = site.services
    scope = Scope(database=services.database, airflow=Nothing(), now=NOW, send=lambda notice: None)
    assert ask_checks(scope, [one, site.definition(source)], artifacts=services.artifacts, site=services.site) == []


def test_of_one_that_gives_no_answer_for_a_day_from_when_it_was_asked_people_are_told_once(site: Site) -> None:
    services = site.services

    def send(notice: Any) -> None:
        site.do(services.notices.send(notice))

    def told(after: timedelta, answer: str = "later", *, mend: bool = True) -> list[str]:
        bank = books(site, f"{{name: it, skill: books.look, with: {{answer: '{answer}'}}}}")
        scope = Scope(database=services.database, airflow=Nothing(), now=NOW + after, send=send, mend=mend)
        asks = pytest.raises(TransientError, match="does not answer") if answer == "later" else nullcontext()
        with asks:
            ask_checks(scope, [bank], artifacts=services.artifacts, site=services.site)
        return [entry.text for entry in services.notices.outbox.entries() if "books/it" in entry.key]

    hour, later = timedelta(hours=1), timedelta(days=4)
    assert told(-later, mend=False) == [], "who only looks writes nothing"
    assert told(timedelta()) == [], "it was never asked before"
    assert told(23 * hour) == []
    (text,) = told(24 * hour)
    assert "check books/it: it has given no answer since it was asked at 2026-03-04 12:00 UTC" in text
    assert "does not answer" in text
    assert len(told(25 * hour)) == 1
    told(26 * hour, "true")
    assert len(told(later)) == 1, "it answered, and nobody has asked since"
    told(later + 25 * hour)
    assert "since it was asked at 2026-03-08 12:00 UTC" in told(later + 26 * hour)[0]
    assert len(told(later + 27 * hour)) == 2


@pytest.mark.parametrize(
    "costs", ["sql: 'SELECT pg_terminate_backend(pg_backend_pid())'", "skill: books.elsewhere"], ids=["query", "skill"]
)
def test_one_that_costs_its_own_connection_keeps_no_other_from_being_asked_and_is_told(site: Site, costs: str) -> None:
    definition = books(site, f"{{name: it, {costs}}}", "{name: same, sql: SELECT 17}")
    services = site.services

    def told(after: timedelta, *, mend: bool = True) -> list[str]:
        def send(notice: Any) -> None:
            site.do(services.notices.send(notice))

        scope = Scope(database=services.database, airflow=Nothing(), now=NOW + after, send=send, mend=mend)
        with pytest.raises(DatabaseLost):
            ask_checks(scope, [definition], artifacts=services.artifacts, site=services.site)
        return [entry.text for entry in services.notices.outbox.entries()]

    day = timedelta(days=1)
    assert told(-day, mend=False) == [], "who only looks writes nothing"
    (same,) = told(timedelta())
    assert "check books/same: 17" in same
    (silent,) = set(told(day)) - {same}
    assert "check books/it: it has given no answer since it was asked at 2026-03-04 12:00 UTC" in silent
    assert len(told(2 * day)) == 2


def test_what_does_not_hold_is_told_once_in_the_automations_own_channel(site: Site) -> None:
    definition = books(
        site,
        "{name: rows, sql: SELECT 1}",
        "{name: later, sql: SELECT 2, schedule: '0 6 * * *'}",
        "{name: it, skill: books.look, with: {answer: 'false'}}",
    )
    services = site.services

    def send(notice: Any) -> None:
        site.do(services.notices.send(notice))

    def found(since: datetime | None) -> list[Discrepancy]:
        scope = Scope(database=services.database, airflow=Nothing(), now=NOW, send=send)
        return ask_checks(scope, [definition], artifacts=services.artifacts, site=services.site, since=since)

    recently = NOW - timedelta(minutes=10)
    assert [each.subject for each in found(recently)] == ["books/rows", "books/it"]
    assert [each.subject for each in found(None)] == ["books/rows", "books/later", "books/it"]
    told = services.notices.outbox.entries()
    assert [entry.target for entry in told] == ["#books"] * 3
