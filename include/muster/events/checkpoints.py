"""Checkpoints: where every stream ended at a moment, kept outside the database.

A hash chain is its own witness up to its last event only: whoever cuts off its end, or writes a stream anew with
fitting hashes, leaves nothing behind to see it by. A checkpoint remembers. Checkpoints are lines of JSON, each with
the hash of the one before it, in a file that is only ever added to; the database keeps the number and hash of each,
so a file that was cut or edited shows as well. Only changing both, to the same end, would go unseen: keep a copy
of the file, or of the hash `muster verify --checkpoint` prints, where the database's owner cannot write.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from muster.database import Database
from muster.errors import MusterError
from muster.events.canonical import GENESIS, canonical, digest
from muster.events.driver import Query, Work, run
from muster.events.log import START, EventLog, Place
from muster.events.statements import BEGIN, COMMIT, FOLLOWING
from muster.events.verification import Fault, checking, listing, strangers

CHECKPOINTS = "checkpoints.jsonl"
"""The file's name in the state folder."""

STREAMS_IN_ONE = 1_000
"""Streams one line tells of at most."""

Witnesses = Mapping[str, Mapping[int, str]]
"""By stream: the hash of the event that was its last, by version, at every checkpoint."""


@dataclass(frozen=True)
class Checkpoint:
    """One line of the file."""

    number: int
    at: str
    begins: bool
    """True for the first line of a file."""
    place: str
    """How far in the whole log the lines up to this one tell of."""
    streams: Mapping[str, Sequence[Any]]
    """Version and hash of the last event, of the streams that had grown."""
    previous: str
    hash: str = ""
    """SHA-256 of the canonical JSON of the rest."""

    def sealed(self) -> Checkpoint:
        """The same with its hash."""
        return Checkpoint(**{**asdict(self), "hash": self.digest()})

    def digest(self) -> str:
        """What `hash` must be."""
        rest = asdict(self)
        del rest["hash"]
        return digest(rest)


@dataclass(frozen=True)
class Verification:
    """What `verify` looked at, and what it found."""

    streams: int
    events: int
    checkpoints: int
    covered: int
    """Streams whose end, at some moment, a checkpoint witnesses."""
    faults: list[Fault]
    """Those of the file have no stream."""


def write_checkpoint(log: EventLog, path: Path, *, begin: bool = False) -> Checkpoint | None:
    """Add a checkpoint of everything appended since the last one; None when that is nothing.

    Safe to call from several processes at once. With `begin`, an old file is put aside and a new one begun.

    Raises:
        MusterError: the file was cut or edited; nothing is written to it.
    """
    return run(log.database, _writing(path, begin))


def verify(database: Database, path: Path, stream: str | None = None, *, lost: bool = False) -> Verification:
    """Check one stream, or all, against their hashes and the checkpoints, and the file of checkpoints itself.

    With `lost`, the file is left out of it: what only it could witness is not looked for.
    """
    # The database before the file. The other way round, a checkpoint that is written in between would be known to the
    # database and not in the file, which would look cut.
    anchors = {} if lost else run(database, _anchors())
    checkpoints, faults = ([], []) if lost else _read(path, anchors)
    witnesses = _witnesses(checkpoints)
    streams = events = 0
    intact: set[str] = set()
    for name in [stream] if stream is not None else _all_streams(database, witnesses):
        count, fault = run(database, checking(name, witnesses.get(name, {}), intact))
        streams, events = streams + 1, events + count
        if fault is not None:
            faults.append(fault)
    return Verification(streams, events, len(checkpoints), len(witnesses), faults)


def known_streams(path: Path) -> set[str]:
    """The streams that the file tells of, as far as it can be read."""
    return set(_witnesses(_read(path, {})[0]))


def _all_streams(database: Database, witnesses: Witnesses) -> Iterator[str]:
    after, rest = "", set(witnesses)
    while names := run(database, listing(after)):
        yield from names
        rest.difference_update(names)
        after = names[-1]
    # Of these, not one event is left.
    yield from sorted(rest.union(run(database, strangers())))


def _witnesses(checkpoints: Sequence[Checkpoint]) -> dict[str, dict[int, str]]:
    known: dict[str, dict[int, str]] = {}
    for checkpoint in checkpoints:
        for stream, (version, hash) in checkpoint.streams.items():
            # The first one stands: if a later checkpoint saw another event there, the stream was written anew between.
            known.setdefault(stream, {}).setdefault(version, hash)
    return known


def _read(path: Path, anchors: Mapping[int, str]) -> tuple[list[Checkpoint], list[Fault]]:
    """The checkpoints up to the first line that is not as it was written, and what is wrong with the file."""
    # What follows the last line break is half a line that a crash has left: the next writer removes it.
    lines = _content(path).split(b"\n")[:-1]
    checkpoints: list[Checkpoint] = []
    for place, line in enumerate(lines, 1):
        checkpoint = _parse(line)
        if checkpoint is None or not _follows(checkpoint, checkpoints[-1] if checkpoints else None, anchors):
            return checkpoints, [Fault("", place, "altered", f"line {place} of {path} is not what was written")]
        checkpoints.append(checkpoint)
    last, known = checkpoints[-1].number if checkpoints else 0, max(anchors, default=0)
    if last < known:
        what = f"{path} ends with checkpoint {last}, and {known} were written" if checkpoints else f"{path} is missing"
        return checkpoints, [Fault("", len(checkpoints) + 1, "truncated", what)]
    return checkpoints, []


def _content(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except FileNotFoundError:
        return b""
    except OSError as error:
        raise MusterError(
            f"The checkpoints in {path} cannot be read: {error.strerror}.", remedy="Give read access to the file."
        ) from error


def _parse(line: bytes) -> Checkpoint | None:
    try:
        checkpoint = Checkpoint(**json.loads(line))
        return checkpoint if checkpoint.digest() == checkpoint.hash else None
    except (ValueError, TypeError, MusterError):
        return None


def _follows(checkpoint: Checkpoint, before: Checkpoint | None, anchors: Mapping[int, str]) -> bool:
    if anchors.get(checkpoint.number, checkpoint.hash) != checkpoint.hash:
        return False
    if before is not None:
        return (checkpoint.number, checkpoint.previous) == (before.number + 1, before.hash) and not checkpoint.begins
    # A file begun anew drops what the old one witnessed: only the database can say that a person wanted that.
    return checkpoint.begins and (checkpoint.number == 1 or not anchors or checkpoint.number in anchors)


def _anchors() -> Work[dict[int, str]]:
    return dict((yield [Query("SELECT number, hash FROM checkpoints")])[0])


def _writing(path: Path, begin: bool) -> Work[Checkpoint | None]:
    # One writer at a time, on whatever machine. The lock is held from the reading of the file to the commit, because
    # two writers that read the same end would both add the next number.
    yield [BEGIN, Query("SELECT pg_advisory_xact_lock(hashtextextended('muster checkpoints', 0))")]
    anchors = yield from _anchors()
    if begin:
        _put_aside(path)
        checkpoints: list[Checkpoint] = []
    else:
        checkpoints, faults = _read(path, anchors)
        if faults:
            raise MusterError(
                f"No checkpoint is written: {faults[0].message}.",
                remedy="Put the file back from a backup, or begin a new one with `muster verify --checkpoint --begin`.",
            )
    heads = yield from _heads(Place.parse(checkpoints[-1].place) if checkpoints else START)
    number = max(anchors, default=0)
    previous = checkpoints[-1] if checkpoints else None
    new = list(_lines(heads, previous, number, anchors.get(number, GENESIS)))
    # The file first, then the database: if the writer dies in between, the file is ahead and `missing` makes that good.
    # The other way round it would look as if the file had been cut.
    if new:
        _append(path, new)
    # With them those of a writer that died after it wrote the file and before it told the database.
    missing = [checkpoint for checkpoint in [*checkpoints, *new] if checkpoint.number not in anchors]
    yield [
        Query(
            "INSERT INTO checkpoints (number, hash) SELECT * FROM unnest(%(numbers)s::bigint[], %(hashes)s::text[])",
            {
                "numbers": [checkpoint.number for checkpoint in missing],
                "hashes": [checkpoint.hash for checkpoint in missing],
            },
        ),
        COMMIT,
    ]
    return new[-1] if new else None


def _heads(place: Place) -> Work[Sequence[tuple[object, ...]]]:
    """(stream, version, hash, *place) of the last event of each stream that grew since `place`."""
    answers = yield [
        Query(
            "SELECT DISTINCT ON (stream) stream, version, encode(hash, 'hex'),"
            " server_epoch, transaction::text::bigint, position"
            f" FROM events WHERE {FOLLOWING} ORDER BY stream, version DESC",
            place.parameters(),
        )
    ]
    return answers[0]


def _lines(
    heads: Sequence[tuple[Any, ...]], before: Checkpoint | None, number: int, previous: str
) -> Iterator[Checkpoint]:
    """The new lines; only the last moves the place, so that a crash between two of them skips nothing."""
    last = str(max((Place(*head[3:]) for head in heads), default=START))
    number, previous = (before.number, before.hash) if before is not None else (number, previous)
    for start in range(0, len(heads), STREAMS_IN_ONE):
        some = heads[start : start + STREAMS_IN_ONE]
        done = start + STREAMS_IN_ONE >= len(heads)
        made = Checkpoint(
            number=number + 1,
            at=datetime.now(UTC).isoformat(timespec="seconds"),
            begins=before is None and start == 0,
            place=last if done else before.place if before is not None else str(START),
            streams={head[0]: [head[1], head[2]] for head in some},
            previous=previous,
        ).sealed()
        yield made
        number, previous = made.number, made.hash


def _append(path: Path, checkpoints: Sequence[Checkpoint]) -> None:
    """Write whole lines, durable on return; half a line that a crash left behind is removed first."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        with os.fdopen(descriptor, "r+b") as file:
            content = file.read()
            # Half a line was never anchored in the database, since that is told after the file is whole.
            file.truncate(content.rfind(b"\n") + 1)
            file.seek(0, os.SEEK_END)
            file.write(b"".join(canonical(asdict(checkpoint)).encode() + b"\n" for checkpoint in checkpoints))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        raise MusterError(
            f"The checkpoint cannot be written to {path}: {error.strerror}.", remedy="Make room or give write access."
        ) from error


def _put_aside(path: Path) -> None:
    if path.is_file():
        # Kept and not removed: it is the only witness of what it has seen.
        path.rename(path.with_name(f"{path.stem}.{datetime.now(UTC):%Y%m%dT%H%M%S%f}{path.suffix}"))
