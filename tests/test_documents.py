"""Promises of documents: named by whoever may start a run, read only in allowed folders, told of only when allowed."""

from __future__ import annotations

import os
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from muster.documents import DocumentRefused, Documents, DocumentTooLarge, documents_of
from muster.errors import PermanentError

WITNESS = b"only for the finance department"


@pytest.fixture
def inbox(tmp_path: Path) -> Path:
    """A folder that may be read, beside one that may not."""
    (tmp_path / "inbox" / "deep").mkdir(parents=True)
    (tmp_path / "inbox" / "deep" / "in voice.xml").write_bytes(b"<read/>")
    (tmp_path / "private").mkdir()
    (tmp_path / "private" / "wages.xml").write_bytes(WITNESS)
    return tmp_path / "inbox"


def refusal(documents: Documents, name: str) -> str:
    with pytest.raises(DocumentRefused) as caught:
        documents.read(name)
    return str(caught.value).replace(name, "NAME")


@pytest.mark.parametrize(
    "name",
    [
        "{inbox}/deep/in voice.xml",
        "file://{inbox}/deep/in%20voice.xml",
        "file://localhost{inbox}/deep/in%20voice.xml",
        "file:{inbox}/deep/in%20voice.xml",
        "{inbox}/../inbox//deep/./in voice.xml",
        "//{inbox}/deep/in voice.xml",
    ],
)
def test_a_file_in_an_allowed_folder_is_read_however_it_is_written(inbox: Path, name: str) -> None:
    assert Documents((inbox,)).read(name.format(inbox=inbox)) == b"<read/>"


@pytest.mark.parametrize(
    "name",
    [
        "{private}/wages.xml",
        "file://{private}/wages.xml",
        "{inbox}/../private/wages.xml",
        "file://{inbox}/%2e%2e/private/wages.xml",
        "file://{inbox}%2F..%2Fprivate%2Fwages.xml",
        "FILE://LOCALHOST{private}/wages.xml",
        "file://elsewhere{inbox}/deep/in%20voice.xml",
        "file://user@localhost{inbox}/deep/in%20voice.xml",
        "file://{inbox}/deep/in%20voice.xml?a=b",
        "file:deep/in%20voice.xml",
        "http://localhost{inbox}/deep/in%20voice.xml",
        "https://127.0.0.1:1/",
        "/proc/self/root{private}/wages.xml",
        "/proc/self/root{inbox}/deep/in voice.xml",
        "/proc/self/cwd/../../../../../../..{private}/wages.xml",
        "/proc/self/environ",
        "/dev/zero",
        "/dev/stdin",
        "/etc/shadow",
        "{inbox}",
        "{inbox}/deep",
        "{inbox}/deep/in voice.xml/",
        "{inbox}/nothing.xml",
        "{inbox}/deep/in voice.xml/more",
        "{inbox}beside/wages.xml",
        "{inbox}/.hidden.xml",
        "{inbox}/link.xml",
        "{inbox}/folder/wages.xml",
        "{inbox}/within.xml",
        "{inbox}/pipe.xml",
        "{inbox}/locked.xml",
        "{inbox}/a\0b.xml",
        "{inbox}/" + "x" * 5000,
        "file://[::1",
        "\udcff",
        "{private}/no-such-file.xml",
    ],
)  # fmt: skip
def test_everything_else_is_refused_in_the_same_words(inbox: Path, name: str) -> None:
    private = inbox.parent / "private"
    (inbox / ".hidden.xml").write_bytes(WITNESS)
    (inbox / "link.xml").symlink_to(private / "wages.xml")
    (inbox / "folder").symlink_to(private)
    (inbox / "within.xml").symlink_to(inbox / "deep" / "in voice.xml")
    (inbox.parent / "inboxbeside").mkdir()
    (inbox.parent / "inboxbeside" / "wages.xml").write_bytes(WITNESS)
    os.mkfifo(inbox / "pipe.xml")
    (inbox / "locked.xml").write_bytes(WITNESS)
    (inbox / "locked.xml").chmod(0)
    if "locked" in name and os.geteuid() == 0:
        pytest.skip("root reads everything")
    documents = Documents((inbox,))
    full = name.format(inbox=inbox, private=private)
    if full.endswith("voice.xml/"):
        assert documents.read(full) == b"<read/>", "a slash at the end changes nothing"
        return
    expected = refusal(documents, "/surely/not/there")
    assert refusal(documents, full) == expected
    with pytest.raises(DocumentRefused):
        documents.read("")


def test_a_folder_swapped_for_a_link_while_it_is_read_never_leads_out(inbox: Path) -> None:
    """Others who may write into the inbox change it meanwhile: what is read is in it, or nothing is."""
    private, deep, aside = inbox.parent / "private", inbox / "deep", inbox / "aside"
    (deep / "wages.xml").write_bytes(b"<mine/>")
    documents, stop, read = Documents((inbox,)), threading.Event(), set[bytes]()

    def swap() -> None:
        while not stop.is_set():
            deep.rename(aside)
            deep.symlink_to(private)
            time.sleep(0)
            deep.unlink()
            aside.rename(deep)
            time.sleep(0)

    swapping = threading.Thread(target=swap)
    swapping.start()
    try:
        for _ in range(3000):
            try:
                read.add(documents.read(f"{deep}/wages.xml"))
            except DocumentRefused:
                read.add(b"")
    finally:
        stop.set()
        swapping.join()
    assert read <= {b"<mine/>", b""}, "what lies outside was read"
    assert documents.read(f"{deep}/wages.xml") == b"<mine/>"


def test_a_folder_that_is_a_link_itself_is_allowed_by_both_its_names(inbox: Path, tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(inbox)
    documents = Documents((tmp_path / "link",))
    for place in (tmp_path / "link", inbox):
        assert documents.read(f"{place}/deep/in voice.xml") == b"<read/>"


def test_a_file_larger_than_allowed_is_not_read(inbox: Path) -> None:
    with (inbox / "huge.xml").open("wb") as file:
        file.truncate(8 * 1024**3)
    for documents in (Documents((inbox,), max_bytes=1000), documents_of({}, shared=[inbox])):
        with pytest.raises(DocumentTooLarge, match=r"huge\.xml is larger than"):
            documents.read(f"{inbox}/huge.xml")
    assert Documents((inbox,), max_bytes=7).read(f"{inbox}/deep/in voice.xml") == b"<read/>"
    with pytest.raises(DocumentTooLarge):
        Documents((inbox,)).read(f"{inbox}/deep/in voice.xml", max_bytes=6)


def test_what_the_settings_name_and_the_triggers_watch_may_be_read(tmp_path: Path) -> None:
    settings = {"inbox": "inbox", "allowed_files": ["/srv/in", "more"], "max_file_mb": 0.5}
    found = documents_of(settings, watched=["/srv/watched"], shared=[tmp_path])
    assert found.folders == (
        Path("/srv/watched"), Path.cwd() / "inbox", Path("/srv/in"), Path.cwd() / "more", tmp_path,
    )  # fmt: skip
    assert found.max_bytes == 512 * 1024
    assert documents_of({}).folders == ()


@pytest.mark.parametrize(
    "settings",
    [{"allowed_files": "/srv"}, {"allowed_files": [1]}, {"allowed_files": [""]}, {"max_file_mb": "20"},
     {"max_file_mb": 0}, {"max_file_mb": True}, {"max_file_mb": 4096}],
)  # fmt: skip
def test_a_setting_that_makes_no_sense_is_refused(settings: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=next(iter(settings))):
        documents_of(settings)
