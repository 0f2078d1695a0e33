"""A run's trail is complete, and nobody changes a word of it unnoticed."""

from __future__ import annotations

import json
from collections.abc import Callable
from hashlib import sha256
from pathlib import Path
from typing import Any

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events import audit, batch
from muster.events.audit import check, trail, write
from muster.events.definitions import DefinitionStore
from muster.events.log import EventLog
from muster.events.model import EventType as T
from muster.events.report import page
from muster.events.signing import Signer
from muster.events.upcasting import Upcasters
from support.run_events import CONTENT, DEFINITION, opened, step, whole_run


@pytest.fixture
def signer(tmp_path: Path) -> Signer:
    return Signer(tmp_path / "state")


@pytest.fixture
def exported(
    database: Database, log: EventLog, tmp_path: Path, signer: Signer, monkeypatch: pytest.MonkeyPatch
) -> Path:
    """A trail in pages, with a large value, odd characters and an event of an old shape."""
    monkeypatch.setattr(audit, "_PAGE", 4)
    DefinitionStore(database).put(CONTENT, hash=DEFINITION, automation="invoices")
    log.append("r", whole_run())
    odd = {"text": "x" * 70_000, "half": 0.1, "large": 10**30, "broken": "\ud800 \ud83e\udd80"}
    log.append("r", [step(T.STEP_SUCCEEDED, "odd", output=odd), step(T.STEP_SKIPPED, "z", reason="\ud83e\udd80 ‹")])
    with monkeypatch.context() as earlier:
        earlier.setattr(batch, "UPCASTERS", Upcasters())
        prompt = [{"kind": "user-prompt", "text": "Which account?"}]
        log.append(
            "r", [step(T.MODEL_CALLED, "code", agent="clerk", model="m", request="ab12", prompt=prompt, cost="0.5")]
        )
    path = tmp_path / "r.jsonl"
    for _ in write(trail(database, "r", None), path, signer):
        pass
    return path


def lines(path: Path) -> list[Any]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def test_the_trail_tells_who_what_when_why_by_which_model_and_version_and_at_what_cost(
    exported: Path, log: EventLog
) -> None:
    head, *events, end = lines(exported)
    assert (head["run"], head["definition"], head["definition_content"]) == ("r", DEFINITION, {"name": "invoices"})
    assert (head["bundle_version"], head["requested_by"], head["fault"]) == ("b1", "ada", None)
    assert [event["version"] for event in events] == list(range(1, 25))
    assert [(e["who"], e["what"], e["when"]) for e in events] == [
        (event.actor, event.type, event.at.isoformat(timespec="microseconds")) for event in log.read("r")
    ]
    assert [event["data"] for event in events] == [event.data for event in log.read("r")]
    called = events[-1]
    assert (called["model"], called["request"], called["cost_usd"], called["step"]) == ("m", "ab12", "0.5", "code")
    assert called["prompt"] == [{"kind": "user-prompt", "text": "Which account?"}]
    whys = {event["what"]: event["why"] for event in events if event["version"] < 22}
    assert (whys["approval.answered"], whys["step.retried"], whys["step.skipped"]) == ("ok", "late", "when")
    assert (end["events"], end["calls"], end["cost_usd"]) == (24, 3, "0.5012")


def test_a_definition_that_was_stored_with_secrets_is_exported_without_them(
    database: Database, log: EventLog, tmp_path: Path, signer: Signer
) -> None:
    settings = {"smtp_password": "hunter2-hunter2", "crm": {"X-Api-Key": ["k1-k1-k1"]}, "inbox": "/srv"}
    content = json.dumps({"name": "invoices", "settings": settings, "ask": "Use sk-abcdefgh12345678."})
    hash = sha256(content.encode()).hexdigest()
    DefinitionStore(database).put(content, hash=hash, automation="invoices")
    log.append("r", [opened(definition=hash), *whole_run()[1:]])
    path = tmp_path / "r.jsonl"
    for _ in write(trail(database, "r", None), path, signer):
        pass
    for secret in ("hunter2", "k1-k1", "sk-abc"):
        assert secret not in path.read_text()
    head = lines(path)[0]
    assert (head["definition_content"]["settings"]["inbox"], head["definition_masked"]) == ("/srv", True)
    assert check(path, signer.public).faults == []


def test_calls_without_a_price_are_counted_beside_the_cost(
    database: Database, log: EventLog, tmp_path: Path, signer: Signer
) -> None:
    calls = [step(T.MODEL_CALLED, "code", agent="clerk", model="m", cost=cost) for cost in ("0.5", None)]
    log.append("r", [*whole_run(), *calls])
    kept = list(trail(database, "r", None))
    before = sum(line.get("cost_usd") is None for line in kept if line.get("what") == T.MODEL_CALLED)
    assert kept[-1]["unpriced_calls"] == before >= 1
    assert f"{before} call" in "".join(page(kept, "key"))


def test_an_untouched_trail_checks_with_the_key_that_signed_it_and_with_no_other(
    exported: Path, signer: Signer, tmp_path: Path
) -> None:
    found = check(exported, signer.public)
    assert (found.run, found.events, found.faults) == ("r", 24, [])
    other = check(exported, Signer(tmp_path / "elsewhere").public)
    assert "line 1 is not what was signed" in other.faults[0]


def _resigned(line: dict[str, Any], signer: Signer, **changes: Any) -> str:
    body = {key: value for key, value in (line | changes).items() if key != "signature"}
    return audit.canonical({**body, "signature": signer.sign(audit.canonical(body))})


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (
            lambda text: [*text[:5], text[5].replace("muster", "eve"), *text[6:]],
            "line 6 is not what was",
        ),
        (lambda text: [*text[:5], *text[6:]], "line 6 is not what was"),
        (lambda text: [*text[:5], text[6], text[5], *text[7:]], "line 6 is not what was"),
        (lambda text: text[1:], "line 1 is not what was"),
        (lambda text: text[:-1], "breaks off after line 25"),
        (lambda text: text[:9], "breaks off after line 9"),
        (lambda text: [], "breaks off after line 0"),
        (lambda text: [*text, text[-1]], "line 27 is not what was"),
        (lambda text: [*text[:3], "torn", *text[4:]], "line 4 is not what was"),
        (lambda text: [*text[:3], "[]", *text[4:]], "line 4 is not what was"),
    ],
)
def test_whatever_was_changed_removed_or_moved_is_found(
    exported: Path, signer: Signer, change: Callable[[list[str]], list[str]], fault: str
) -> None:
    changed = change(exported.read_text().splitlines())
    exported.write_text("".join(f"{line}\n" for line in changed))
    assert any(fault in said for said in check(exported, signer.public).faults)


def test_the_key_s_owner_cannot_change_an_event_without_breaking_the_log_s_own_hashes(
    exported: Path, signer: Signer
) -> None:
    text = exported.read_text().splitlines()
    forged = _resigned(json.loads(text[5]), signer, who="eve")
    exported.write_text("".join(f"{line}\n" for line in [*text[:5], forged, *text[6:]]))
    assert "event 5 is not what the log's own hashes say" in check(exported, signer.public).faults[0]


def test_a_line_of_another_export_does_not_fit_in(
    exported: Path, database: Database, signer: Signer, tmp_path: Path
) -> None:
    text = exported.read_text().splitlines()
    forged = _resigned(json.loads(text[5]), signer, why="because")
    exported.write_text("".join(f"{line}\n" for line in [*text[:5], forged, *text[6:]]))
    assert "line 7 does not follow the line before it" in check(exported, signer.public).faults


def test_a_log_that_did_not_verify_is_told_in_its_trail(
    database: Database, log: EventLog, dsn: str, tmp_path: Path, signer: Signer
) -> None:
    log.append("r", whole_run())
    with psycopg.connect(dsn) as connection:
        connection.execute("ALTER TABLE events DISABLE TRIGGER append_only")
        connection.execute("UPDATE events SET actor = 'eve' WHERE version = 3")
    for _ in write(trail(database, "r", "event 3 is altered"), tmp_path / "r.jsonl", signer):
        pass
    faults = check(tmp_path / "r.jsonl", signer.public).faults
    assert "did not verify: event 3 is altered" in faults[0]
    assert "event 3 is not what" in faults[1]


def test_what_cannot_be_exported_or_checked_is_said(database: Database, tmp_path: Path, signer: Signer) -> None:
    with pytest.raises(MusterError, match="no run 'unknown'"):
        list(write(trail(database, "unknown", None), tmp_path / "x.jsonl", signer))
    assert [path.name for path in tmp_path.iterdir()] == ["state"]
    with pytest.raises(MusterError, match="cannot be read"):
        check(tmp_path / "x.jsonl", signer.public)
    with pytest.raises(MusterError, match="no public key"):
        check(tmp_path / "x.jsonl", "nonsense")
