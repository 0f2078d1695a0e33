"""The audit trail of a run: who did what, when and why, by which model and version, and at what cost.

It is exported as JSON lines. Each has its number, the SHA-256 of the line before it and an Ed25519 signature; the
first names the run, its definition and the key, the last says how many there are. So any line that was changed,
removed or moved is found without the database. Events carry what their own hashes are made of, so that the chain
of the log can be computed again from the file alone.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from hashlib import sha256
from pathlib import Path
from typing import Any
from uuid import UUID

from muster import __version__
from muster.database import Database
from muster.errors import MusterError
from muster.events import statements
from muster.events.canonical import GENESIS, canonical, event_hash, instant
from muster.events.definitions import DefinitionStore
from muster.events.driver import Work, run
from muster.events.model import EventType as T
from muster.events.projections import money
from muster.events.rows import resolve, to_event
from muster.events.signing import Checker, Signer
from muster.redaction import redact_data

_PAGE = 500

Line = dict[str, Any]


@dataclass
class Totals:
    """What a trail adds up to."""

    events: int = 0
    calls: int = 0
    cost: Decimal = Decimal(0)
    """Of the calls whose price is known."""
    unpriced: int = 0
    """Calls whose price nobody knows."""


def trail(database: Database, stream: str, fault: str | None) -> Iterator[Line]:
    """The unsigned lines of a run's trail, read in pages; `fault` is what `muster verify` found.

    Raises:
        MusterError: there is no such run.
    """
    totals, version = Totals(), 0
    while page := run(database, _page(stream, version)):
        for line in page:
            if version == 0:
                # Not always the first event: a run may have been cancelled before it was opened.
                opened = next((event for event in page if event["what"] == T.RUN_OPENED), line)
                yield _head(database, stream, opened, fault)
            version = line["version"]
            _count(totals, line)
            yield line
    if version == 0:
        raise MusterError(f"There is no run {stream!r} in the log.", remedy="`muster runs` lists them.")
    sums = {"events": totals.events, "calls": totals.calls, "cost_usd": str(totals.cost)}
    yield {"line": "end", **sums, "unpriced_calls": totals.unpriced}


def write(lines: Iterator[Line], path: Path, signer: Signer) -> Iterator[Line]:
    """Sign lines into a file and yield each of them; the file appears, complete, once all were consumed."""
    # Under another name until it is complete: an export that breaks off leaves no file that looks like a trail.
    draft = path.with_name(f".{path.name}.part")
    previous = GENESIS
    try:
        with draft.open("w", encoding="utf-8", newline="\n") as file:
            for number, line in enumerate(lines, 1):
                key = {"public_key": signer.public} if number == 1 else {}
                body = {**line, **key, "number": number, "previous": previous}
                text = canonical({**body, "signature": signer.sign(canonical(body))})
                file.write(text + "\n")
                previous = sha256(text.encode()).hexdigest()
                yield line
        draft.replace(path)
    finally:
        with suppress(FileNotFoundError):
            draft.unlink()


@dataclass
class Checked:
    """What a check of an exported trail found."""

    run: str = ""
    events: int = 0
    signed_by: str = ""
    """Fingerprint of the key it was checked against."""
    faults: list[str] = field(default_factory=list)


def check(path: Path, pem: str) -> Checked:
    """Check every line of an exported trail against a public key, and its events against their hashes.

    Raises:
        MusterError: the file cannot be read, or the key is none.
    """
    checker = Checker(pem)
    checked = Checked(signed_by=checker.fingerprint)
    try:
        with path.open("rb") as file:
            _check(iter(file), checker, checked)
    except OSError as error:
        raise MusterError(
            f"{path} cannot be read: {error.strerror}.", remedy="Give a file `muster audit` wrote."
        ) from error
    return checked


def _check(lines: Iterator[bytes], checker: Checker, checked: Checked) -> None:
    number, previous, chain, last = 0, GENESIS, GENESIS, ""
    for number, raw in enumerate(lines, 1):
        line = _parsed(raw)
        signature = str(line.pop("signature", ""))
        if not line or not checker.valid(canonical(line), signature) or line.get("number") != number:
            # Lines after it are not checked: they are chained to a line that was changed, and prove nothing.
            checked.faults.append(f"line {number} is not what was signed with the key {checker.fingerprint[:16]}")
            return
        if line["previous"] != previous:
            checked.faults.append(f"line {number} does not follow the line before it")
            return
        previous, last = sha256(raw.rstrip(b"\n")).hexdigest(), line["line"]
        if last == "run":
            checked.run = line["run"]
            checked.faults += [f"when exported, the log did not verify: {line['fault']}"] * bool(line["fault"])
        elif last == "event":
            checked.events += 1
            chain = _check_event(line, chain, number, checked)
    if last != "end":
        checked.faults.append(f"the trail breaks off after line {number}")


def _parsed(raw: bytes) -> Line:
    try:
        line = json.loads(raw)
    except ValueError:
        return {}
    return line if isinstance(line, dict) else {}


def _check_event(line: Line, chain: str, number: int, checked: Checked) -> str:
    """The hash that the next event must follow."""
    causation = line["causation"]
    own = event_hash(
        previous=line["previous_hash"],
        stream=checked.run,
        version=line["version"],
        id=UUID(line["id"]),
        at=instant(datetime.fromisoformat(line["when"])),
        type=line["what"],
        key=line["key"],
        actor=line["who"],
        correlation=line["correlation"],
        causation=UUID(causation) if causation else None,
        data=canonical(line["data"]) if line["stored"] is None else line["stored"],
    )
    if own != line["hash"] or line["previous_hash"] != chain:
        checked.faults.append(f"line {number}: event {line['version']} is not what the log's own hashes say")
    return str(line["hash"])


def _page(stream: str, after: int) -> Work[list[Line]]:
    rows = (yield [statements.read(stream, after, None, None, _PAGE)])[0]
    events = yield from resolve([to_event(row) for row in rows])
    return [
        {
            "line": "event",
            "version": event.version,
            "when": instant(event.at),
            "who": event.actor,
            "what": event.type,
            **_told(event.type, _said(event.data)),
            "id": str(event.id),
            "key": event.key,
            "correlation": event.correlation,
            "causation": str(event.causation) if event.causation else None,
            "previous_hash": event.previous_hash,
            "hash": event.hash,
            "data": event.data,
            "stored": _stored(row[12], event.data),
        }
        for event, row in zip(events, rows, strict=True)
    ]


def _stored(text: str, data: object) -> str | None:
    """The text that the hash was made of, if it is not that of `data`: large values and old shapes."""
    return None if canonical(data) == text else text


def _said(data: object) -> Mapping[str, object]:
    """An event's data; empty if somebody has put something else into the database in its place."""
    return data if isinstance(data, Mapping) else {}


def _told(type: str, data: Mapping[str, object]) -> Line:
    """What people ask of an event, wherever its type keeps it."""
    error = data.get("error")
    why = [data.get(name) for name in ("reason", "note", "subject", "text", "trigger")]
    why += [error.get("message") if isinstance(error, dict) else error]
    told: Line = {
        "step": data.get("step"),
        "index": data.get("index"),
        "why": next((value for value in why if value not in (None, "")), None),
    }
    if type == T.MODEL_CALLED:
        told |= {"model": data.get("model"), "tier": data.get("tier"), "request": data.get("request")}
        told["prompt"] = data.get("prompt")
        told |= {"usage": data.get("usage"), "cost_usd": data.get("cost")}
    return told


def _head(database: Database, stream: str, opened: Line, fault: str | None) -> Line:
    data = _said(opened["data"])
    definition = data.get("definition")
    try:
        content = json.loads(DefinitionStore(database).get(str(definition)))
    except MusterError:
        content = None
    shown = redact_data(content)
    return {
        "line": "run",
        "run": stream,
        "automation": data.get("automation"),
        "definition": definition,
        "definition_content": shown,
        # A masked definition does not fit its hash any more: whoever checks it must know why.
        **({"definition_masked": True} if shown != content else {}),
        "bundle_version": data.get("bundle_version"),
        "requested_by": data.get("requested_by"),
        "trigger": data.get("trigger"),
        "exported_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "muster": __version__,
        "fault": fault,
    }


def _count(totals: Totals, line: Line) -> None:
    totals.events += 1
    if line["what"] == T.MODEL_CALLED:
        totals.calls += 1
        totals.unpriced += line["cost_usd"] is None
        totals.cost += money(line["cost_usd"])
