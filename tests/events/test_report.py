"""The report is one page that says everything and runs nothing."""

from __future__ import annotations

from html.parser import HTMLParser

from muster.database import Database
from muster.events.audit import trail
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.report import SHOWN, page
from support.run_events import opened, step, whole_run

EVIL = "<script>alert('x')</script><img src=https://example.org/x>\"&'"


class Elements(HTMLParser):
    """Collects the elements, their attributes and the text."""

    def __init__(self, source: str) -> None:
        super().__init__()
        self.names: set[str] = set()
        self.links: list[str | None] = []
        self.text = ""
        self.feed(source)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.add(tag)
        self.links += [value for name, value in attrs if name in ("src", "href", "style") or name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def report(database: Database, fault: str | None = None) -> Elements:
    return Elements("".join(page(trail(database, "r", fault), "f" * 64)))


def test_the_page_tells_the_run_its_costs_its_decisions_and_every_event(log: EventLog, database: Database) -> None:
    log.append("r", whole_run())
    found = report(database)
    for said in (
        "Audit trail of r",
        "2, at least $0.0012",
        "What people decided",
        "approved: ok",
        "The log verified",
        "step.set_aside",
        "read[3]",
        "BR-01",
        "f" * 64,
    ):
        assert said in found.text, said
    assert "does not verify: it was cut" in report(database, "it was cut").text


def test_whatever_an_event_holds_is_text_on_the_page_and_nothing_is_loaded(log: EventLog, database: Database) -> None:
    log.append(
        "r",
        [
            opened(automation=EVIL, definition=EVIL, bundle_version=EVIL, requested_by=EVIL, trigger=EVIL),
            step(T.STEP_SKIPPED, EVIL, reason=EVIL, actor=EVIL),
            step(T.MODEL_CALLED, EVIL, model=EVIL, tier=EVIL, request=EVIL, cost=EVIL, usage={EVIL: EVIL}, actor=EVIL),
            step(T.APPROVAL_ANSWERED, EVIL, approved=True, note=EVIL, actor=EVIL),
            step(T.STEP_FAILED, "a", error={"message": EVIL + "\ud800"}),
            step(T.STEP_SUCCEEDED, "b", output="long" * SHOWN),
        ],
    )
    found = report(database, EVIL)
    assert found.names.isdisjoint({"script", "img", "link", "iframe", "object", "form"})
    assert found.links == []
    assert EVIL in found.text
    assert "more characters in the JSON lines" in found.text
