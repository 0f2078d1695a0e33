"""What is cut off the end of the log, or written anew, is found; and so is whoever cuts the checkpoints."""

from __future__ import annotations

import json
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.events import checkpoints
from muster.events.canonical import digest
from muster.events.checkpoints import Verification, known_streams, verify, write_checkpoint
from muster.events.log import EventLog
from muster.events.model import NewEvent

Look = Callable[..., list[tuple[str, int, str]]]


def noted(*numbers: int) -> list[NewEvent]:
    return [NewEvent(type="noted", data={"n": n}) for n in numbers]


@pytest.fixture
def path(tmp_path: Path, log: EventLog) -> Path:
    """A file with three checkpoints of a log of two streams."""
    file = tmp_path / "state" / "checkpoints.jsonl"
    for batch in range(3):
        log.append("s", noted(*range(5)))
        if batch != 1:
            log.append("t", noted(batch))
        assert write_checkpoint(log, file)
    return file


@pytest.fixture
def look(database: Database, path: Path) -> Look:
    """The faults that `verify` finds."""

    def run(stream: str | None = None) -> list[tuple[str, int, str]]:
        return [(fault.stream, fault.version, fault.kind) for fault in verify(database, path, stream).faults]

    return run


def tamper(dsn: str, *statements: str) -> None:
    """Changes the tables as only their owner can."""
    with psycopg.connect(dsn) as connection:
        for table in ("events", "checkpoints"):
            connection.execute(f"ALTER TABLE {table} DISABLE TRIGGER append_only")
        for statement in statements:
            assert connection.execute(statement).rowcount
        for table in ("events", "checkpoints"):
            connection.execute(f"ALTER TABLE {table} ENABLE TRIGGER append_only")


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines(keepends=True)


def test_an_untouched_log_and_file_verify_and_each_checkpoint_tells_what_is_new(
    database: Database, log: EventLog, path: Path
) -> None:
    assert verify(database, path) == Verification(streams=2, events=17, checkpoints=3, covered=2, faults=[])
    told = [{name: head[0] for name, head in json.loads(line)["streams"].items()} for line in lines(path)]
    assert told == [{"s": 5, "t": 1}, {"s": 10}, {"s": 15, "t": 2}]
    assert write_checkpoint(log, path) is None
    assert len(lines(path)) == 3
    assert path.stat().st_mode & 0o777 == 0o600
    log.append("s", noted(1))
    assert verify(database, path).faults == []


@pytest.mark.parametrize(
    ("statement", "fault"),
    [
        ("DELETE FROM events WHERE stream = 's' AND version > 12", ("s", 13, "truncated")),
        ("DELETE FROM events WHERE stream = 's' AND version = 15", ("s", 15, "truncated")),
        ("DELETE FROM events WHERE stream = 't'", ("t", 1, "truncated")),
        ("DELETE FROM events WHERE stream = 's' AND version = 3", ("s", 3, "removed")),
        ("UPDATE events SET actor = 'eve' WHERE stream = 's' AND version = 15", ("s", 15, "altered")),
    ],
)
def test_what_was_removed_or_altered_is_found_also_at_the_end(
    dsn: str, look: Look, statement: str, fault: tuple[str, int, str]
) -> None:
    tamper(dsn, statement)
    assert look() == [fault]
    assert look(fault[0]) == [fault]
    assert look("t" if fault[0] == "s" else "s") == []


def test_a_tail_that_was_cut_and_written_anew_is_found_at_the_first_checkpoint_after_it(
    dsn: str, log: EventLog, look: Look, path: Path
) -> None:
    tamper(dsn, "DELETE FROM events WHERE stream = 's' AND version > 7")
    EventLog(log.database).append("s", noted(*range(20)))
    assert log.verify("s") is None
    assert look() == [("s", 10, "replaced")]
    # A later checkpoint of the forged tail does not bless it.
    assert write_checkpoint(log, path)
    assert look() == [("s", 10, "replaced")]


def test_what_no_checkpoint_has_seen_cannot_be_missed(dsn: str, log: EventLog, look: Look) -> None:
    log.append("s", noted(1, 2))
    tamper(dsn, "DELETE FROM events WHERE stream = 's' AND version = 17")
    assert look() == []


@pytest.mark.parametrize(
    ("change", "fault"),
    [
        (lambda text: text[:2], ("", 3, "truncated")),
        (lambda text: [*text[:2], text[2][:-20]], ("", 3, "truncated")),
        (lambda text: text[1:], ("", 1, "altered")),
        (lambda text: [text[0], text[2]], ("", 2, "altered")),
        (lambda text: [text[0], text[1].replace('[10,"', '[9,"'), text[2]], ("", 2, "altered")),
        (lambda text: [*text[:2], text[2].replace('"number":3', '"number":4')], ("", 3, "altered")),
        (lambda text: [*text[:2], "{}\n"], ("", 3, "altered")),
        (lambda text: [*text[:2], "torn\n"], ("", 3, "altered")),
        (lambda text: [], ("", 1, "truncated")),
    ],
)
def test_a_file_that_was_cut_or_edited_is_noticed_and_not_added_to(
    log: EventLog, path: Path, look: Look, change: Callable[[list[str]], list[str]], fault: tuple[str, int, str]
) -> None:
    changed = "".join(change(lines(path)))
    path.write_text(changed)
    log.append("s", noted(1))
    assert look() == [fault]
    with pytest.raises(MusterError, match=r"No checkpoint is written.*--begin"):
        write_checkpoint(log, path)
    assert path.read_text() == changed


def test_a_file_written_anew_with_fitting_hashes_is_noticed(dsn: str, log: EventLog, path: Path, look: Look) -> None:
    tamper(dsn, "DELETE FROM events WHERE stream = 's' AND version > 7")
    forged = []
    previous = None
    for number, line in enumerate(lines(path), 1):
        told = json.loads(line) | {"streams": {}}
        told |= {"number": number, "previous": previous or told["previous"]}
        del told["hash"]
        previous = digest(told)
        forged.append(json.dumps({**told, "hash": previous}) + "\n")
    path.write_text("".join(forged))
    assert look() == [("", 1, "altered")]
    # Nor does a beginning with a number to come pass as one that a person wanted.
    told = json.loads(forged[0]) | {"number": 4}
    del told["hash"]
    path.write_text(json.dumps({**told, "hash": digest(told)}) + "\n")
    assert look() == [("", 1, "altered")]


def test_a_missing_file_is_noticed_and_a_new_one_goes_on_from_what_the_database_knows(
    dsn: str, database: Database, log: EventLog, path: Path, look: Look
) -> None:
    path.unlink()
    assert look() == [("", 1, "truncated")]
    with pytest.raises(MusterError, match="is missing"):
        write_checkpoint(log, path)
    begun = write_checkpoint(log, path, begin=True)
    assert begun is not None
    assert (begun.number, begun.begins, look()) == (4, True, [])
    assert known_streams(path) == {"s", "t"}
    tamper(dsn, "DELETE FROM events WHERE stream = 's' AND version = 15")
    assert look() == [("s", 15, "truncated")]
    # What is put aside is kept.
    write_checkpoint(log, path, begin=True)
    assert len(list(path.parent.iterdir())) == 2


def test_half_a_line_that_a_crash_left_behind_is_no_fault_and_is_removed(log: EventLog, path: Path, look: Look) -> None:
    log.append("s", noted(1))
    with path.open("a") as file:
        file.write('{"number":4,"str')
    assert look() == []
    assert write_checkpoint(log, path)
    assert (len(lines(path)), look()) == (4, [])


def test_a_line_whose_writer_died_before_the_database_knew_of_it_counts(
    dsn: str, log: EventLog, path: Path, look: Look
) -> None:
    tamper(dsn, "DELETE FROM checkpoints WHERE number = 3")
    assert look() == []
    log.append("s", noted(1))
    assert write_checkpoint(log, path)
    path.write_text("".join(lines(path)[:2]))
    assert look() == [("", 3, "truncated")]


def test_many_streams_take_several_lines(
    database: Database, log: EventLog, path: Path, look: Look, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(checkpoints, "STREAMS_IN_ONE", 3)
    for number in range(8):
        log.append(f"many/{number}", noted(1))
    last = write_checkpoint(log, path)
    assert last is not None
    told = [json.loads(line) for line in lines(path)]
    assert [len(line["streams"]) for line in told] == [2, 1, 2, 3, 3, 2]
    # Had the first of them moved the place, a crash before the second would skip streams for good.
    assert [line["place"] == last.place for line in told] == [False] * 5 + [True]
    assert (look(), verify(database, path).covered) == ([], 10)


def test_writers_at_once_take_turns(log: EventLog, path: Path, look: Look) -> None:
    def one(number: int) -> None:
        log.append(f"at once/{number}", noted(1))
        write_checkpoint(log, path)

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(one, range(12)))
    write_checkpoint(log, path)
    assert look() == []
    assert {f"at once/{number}" for number in range(12)} <= known_streams(path)
    assert [json.loads(line)["number"] for line in lines(path)] == list(range(1, len(lines(path)) + 1))


def test_a_place_that_cannot_be_read_or_written_is_said(log: EventLog, path: Path, tmp_path: Path) -> None:
    with pytest.raises(MusterError, match="cannot be read: Is a directory"):
        write_checkpoint(log, tmp_path)
    with pytest.raises(MusterError, match="cannot be"):
        write_checkpoint(log, path / "below a file.jsonl", begin=True)
