"""Promises of the watch on folders, against a real database."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from muster.database import Database
from muster.documents import documents_of
from muster.errors import PermanentError, TransientError
from muster.triggers.arrivals import Arrival, Watch, claim, left_over, look, started, waiting

WATCH = Watch("invoices", "/in", "files", ("files",))
LATER = 4_000_000_000.0


def arrive(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).write_text(name)


def test_only_settled_visible_matching_files_count(tmp_path: Path) -> None:
    arrive(tmp_path, "a.xml", "b.pdf", "c.txt", ".hidden.xml")
    (tmp_path / "folder.xml").mkdir()
    assert [Path(found.uri).name for found in look(tmp_path, ["*.xml", "*.pdf"], now=LATER)] == [
        "a.xml",
        "b.pdf",
    ]
    assert look(tmp_path, ["*"], now=(tmp_path / "a.xml").stat().st_mtime + 0.5) == []


@pytest.mark.parametrize("known_by", ["MUSTER_PROJECT", "MUSTER_INCLUDE", "where it was started"])
def test_a_relative_folder_counts_from_the_project_wherever_the_process_was_started(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, known_by: str
) -> None:
    (below := tmp_path / "project" / "include" / "automations").mkdir(parents=True)
    for folder in (tmp_path / "project" / "inbox", tmp_path / "inbox", below / "inbox"):
        folder.mkdir()
        arrive(folder, "a.xml")
    project = tmp_path / "project"
    for name, value in (("MUSTER_PROJECT", project), ("MUSTER_INCLUDE", project / "include")):
        monkeypatch.setenv(name, str(value)) if name == known_by else monkeypatch.delenv(name, raising=False)
    monkeypatch.chdir(below if known_by == "where it was started" else tmp_path)
    assert [arrival.uri for arrival in look("inbox", ["*"], now=LATER)] == [(project / "inbox" / "a.xml").as_uri()]
    assert documents_of({"inbox": "inbox", "allowed_files": ["archive"]}).folders == (
        project / "inbox",
        project / "archive",
    )


def test_a_folder_whose_name_can_be_no_name_is_refused_with_what_to_do() -> None:
    with pytest.raises(PermanentError, match=r"'/in\\x00box' cannot be watched: .*null byte.*`path`"):
        look("/in\0box", ["*"])


def test_a_folder_may_be_named_by_its_uri(database: Database, tmp_path: Path) -> None:
    (folder := tmp_path / "in box").mkdir()
    arrive(folder, "a.xml")
    for named in (folder.as_uri(), f"file://localhost{folder}".replace(" ", "%20"), f"{folder.as_uri()}/"):
        (found,) = look(named, ["*"], now=LATER)
        assert found.uri == (folder / "a.xml").as_uri()
        assert documents_of({}, watched=[named]).read(found.uri) == b"a.xml"
    (batch,) = claim(database, Watch("invoices", folder.as_uri(), "files", ("files",)), [found])
    now = Watch("invoices", str(folder), "letters", ("letters",))
    assert claim(database, now, []) == [batch], "it is the same folder, however it is named"


def test_a_missing_folder_is_an_outage_and_not_an_empty_folder(tmp_path: Path) -> None:
    with pytest.raises(TransientError, match="cannot be read"):
        look(tmp_path / "nowhere", ["*"])


def test_an_entry_that_cannot_be_looked_at_is_named_and_keeps_no_other_back(tmp_path: Path) -> None:
    arrive(tmp_path, "a.xml", "c.xml")
    (tmp_path / "b.xml").symlink_to(tmp_path / "nowhere")
    (tmp_path / "loop.xml").symlink_to("loop.xml")
    (tmp_path / "other.txt").symlink_to(tmp_path / "nowhere")
    told: list[str] = []
    found = look(tmp_path, ["*.xml"], now=LATER, tell=told.append)
    assert [Path(arrival.uri).name for arrival in found] == ["a.xml", "c.xml"]
    assert [sentence.partition(" starts no run")[0] for sentence in told] == [
        str(tmp_path / "b.xml"),
        str(tmp_path / "loop.xml"),
    ]


def test_each_file_is_given_to_one_run(database: Database, tmp_path: Path) -> None:
    arrive(tmp_path, "a.xml", "b.xml")
    found = look(tmp_path, ["*"], now=LATER)
    (batch,) = claim(database, WATCH, found)
    assert [Path(uri).name for uri in batch.uris] == ["a.xml", "b.xml"]
    started(database, "invoices", batch)
    assert claim(database, WATCH, found) == []
    assert not waiting(database, "invoices", found)
    arrive(tmp_path, "c.xml")
    (second,) = claim(database, WATCH, look(tmp_path, ["*"], now=LATER))
    assert [Path(uri).name for uri in second.uris] == ["c.xml"]
    assert second.name != batch.name


def test_a_batch_whose_start_was_cut_off_is_offered_again_under_the_same_name(database: Database) -> None:
    found = [Arrival("file:///in/a.xml", "1-1")]
    first = claim(database, WATCH, found)
    assert waiting(database, "invoices", found)
    assert claim(database, WATCH, found) == first


def test_changed_content_under_an_old_name_is_a_new_arrival(database: Database) -> None:
    (batch,) = claim(database, WATCH, [Arrival("file:///in/a.xml", "1-1")])
    started(database, "invoices", batch)
    changed = [Arrival("file:///in/a.xml", "2-2")]
    assert waiting(database, "invoices", changed)
    assert len(claim(database, WATCH, changed)) == 1


def test_claims_at_once_never_split_or_double_a_batch(database: Database) -> None:
    found = [Arrival(f"file:///in/{number}.xml", "1-1") for number in range(50)]
    with ThreadPoolExecutor(4) as pool:
        claims = list(pool.map(lambda _: claim(database, WATCH, found), range(8)))
    assert {batches[0].name for batches in claims} == {claims[0][0].name}
    assert all(len(batches) == 1 and len(batches[0].uris) == 50 for batches in claims)


LETTERS = Watch("invoices", "/letters", "letters", ("files", "letters"))
BILLS = Watch("invoices", "/bills", "files", ("files", "letters"))


def test_a_batch_that_was_left_unstarted_goes_to_the_input_it_was_claimed_for(database: Database) -> None:
    letters, bills = [Arrival("file:///letters/a.xml", "1-1")], [Arrival("file:///bills/a.xml", "1-1")]
    claimed = claim(database, LETTERS, letters)
    own = claim(database, BILLS, bills)
    assert [batch.uris for batch in claimed + own] == [("file:///letters/a.xml",), ("file:///bills/a.xml",)]
    assert claim(database, LETTERS, []) == claimed
    assert claim(database, BILLS, letters) == own, "also where its folder shows the other's files"


def from_before(database: Database, batch: str, *uris: str) -> None:
    """What was claimed before the input was written down."""
    with database.connection() as connection:
        for uri in uris:
            connection.execute(
                "INSERT INTO arrivals (automation, uri, fingerprint, batch) VALUES ('invoices', %s, '1-1', %s)",
                (uri, batch),
            )


def test_a_batch_from_before_inputs_were_written_down_is_started_by_who_watches_its_folder(database: Database) -> None:
    from_before(database, "old", "file:///letters/a.xml", "file:///letters/b.xml")
    from_before(database, "below", "file:///letters/bills/a.xml")
    from_before(database, "linked", "file:///elsewhere/a.xml")
    linked = [Arrival("file:///elsewhere/a.xml", "1-1")]
    assert claim(database, BILLS, []) == []
    assert [batch.name for batch in claim(database, BILLS, linked)] == ["linked"]
    (old,) = claim(database, LETTERS, [])
    assert (old.name, old.uris) == ("old", ("file:///letters/a.xml", "file:///letters/b.xml"))
    started(database, "invoices", old)
    assert claim(database, LETTERS, [Arrival("file:///letters/a.xml", "1-1")]) == []


def test_a_batch_whose_input_was_renamed_is_given_to_the_new_one(database: Database) -> None:
    found = [Arrival("file:///bills/a.xml", "1-1")]
    batches = claim(database, BILLS, found)
    renamed = Watch("invoices", "/bills", "bills", ("bills", "letters"))
    assert claim(database, LETTERS, []) == []
    assert claim(database, renamed, []) == batches


def test_what_no_watch_will_start_is_left_over(database: Database, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    (elsewhere := tmp_path / "elsewhere").mkdir()
    arrive(elsewhere, "a.xml")
    (folder / "a.xml").symlink_to(elsewhere / "a.xml")
    found = look(folder, ["*"], now=LATER)
    claim(database, Watch("invoices", str(folder), "old", ("old",)), found)
    now = Watch("invoices", str(folder), "new", ("new",))
    (left,) = left_over(database, {})
    assert left.folders == [str(elsewhere)]
    assert left_over(database, {now: look(folder, ["*.pdf"], now=LATER)}) == [left]
    assert left_over(database, {now: found}) == []
    (batch,) = claim(database, now, found)
    assert batch.uris == left.uris, "what is not left over is started"


def test_what_is_left_over_where_nothing_is_any_more_is_not_told(database: Database, tmp_path: Path) -> None:
    (folder := tmp_path / "in").mkdir()
    arrive(folder, "a.xml")
    claim(database, Watch("invoices", str(folder), "files", ("files",)), look(folder, ["*"], now=LATER))
    assert len(left_over(database, {})) == 1
    folder.rename(tmp_path / "away")
    assert left_over(database, {}) == []
    (tmp_path / "away").rename(folder)
    assert len(left_over(database, {})) == 1, "it was away for a while"
