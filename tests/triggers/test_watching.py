"""A file is noticed soon after it is put into a folder, without looking at all files of the folder again and again."""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from pathlib import Path
from threading import Timer

import pytest

from muster.errors import TransientError
from muster.triggers.arrivals import Arrival, look
from muster.triggers.watching import GIVEN_UP, PATIENCE, FolderWatch, wait_until_settled

NOW = 4_000_000_000.0
EVERY = 30.0


class Inbox:
    """A folder whose clock is the test's, and the files in it that no run has taken."""

    def __init__(self, folder: Path) -> None:
        self.folder, self.taken, self.asked = folder, set[Arrival](), 0
        self.watch = FolderWatch(str(folder), ["*"], EVERY)
        os.utime(folder, (NOW - 100, NOW - 100))

    def put(self, name: str, at: float) -> None:
        (self.folder / name).write_text(f"{name} {at}")
        os.utime(self.folder / name, (at, at))
        os.utime(self.folder, (at, at))

    def waiting(self, found: Sequence[Arrival]) -> list[Arrival]:
        self.asked += 1
        return [arrival for arrival in found if arrival not in self.taken]

    def wakes(self, now: float) -> bool:
        return self.watch.look(self.waiting, now=now)

    def take(self, now: float) -> None:
        self.taken |= set(look(self.folder, ["*"], now=now))


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def test_a_file_wakes_at_the_first_look_and_not_again_while_it_is_being_taken(inbox: Inbox) -> None:
    assert not inbox.wakes(NOW)
    inbox.put("a.xml", NOW + 0.5)
    assert [inbox.wakes(NOW + second) for second in (1, 2, 3, 4)] == [True, False, False, False]
    inbox.take(NOW + 4)
    inbox.put("b.xml", NOW + 5)
    assert inbox.wakes(NOW + 5)


def test_a_file_that_took_longer_to_write_than_was_waited_for_wakes_once_it_is_whole(inbox: Inbox) -> None:
    for second in range(20):
        inbox.put("a.xml", NOW + second)
        assert inbox.wakes(NOW + second) == (second == 0)
    assert [inbox.wakes(NOW + second) for second in (20, 21, 22)] == [False, True, False]


def test_what_nobody_takes_wakes_again_and_is_looked_at_no_more_often_than_that(inbox: Inbox) -> None:
    inbox.put("a.xml", NOW - 3)
    woke = [second for second in range(70) if inbox.wakes(NOW + second)]
    assert woke == [0, 30, 60]
    assert inbox.asked == 3


def test_an_unchanged_folder_is_not_read_and_what_was_changed_in_place_is_found_all_the_same(inbox: Inbox) -> None:
    inbox.put("a.xml", NOW - 10)
    inbox.take(NOW)
    assert not inbox.wakes(NOW)
    before = inbox.folder.stat().st_mtime
    with (inbox.folder / "a.xml").open("a") as file:
        file.write("more")
    os.utime(inbox.folder / "a.xml", (NOW + 1, NOW + 1))
    assert inbox.folder.stat().st_mtime == before
    assert [second for second in range(1, 40) if inbox.wakes(NOW + second)] == [30]
    assert inbox.asked < 10


def test_a_file_that_is_put_there_in_the_moment_of_a_look_is_not_missed(inbox: Inbox) -> None:
    os.utime(inbox.folder, (NOW, NOW))
    assert not inbox.wakes(NOW)
    inbox.put("a.xml", NOW)
    assert inbox.wakes(NOW + 1)


def test_a_folder_that_is_away_is_an_error_and_watched_when_it_is_back(inbox: Inbox, tmp_path: Path) -> None:
    assert not inbox.wakes(NOW)
    away = tmp_path.rename(tmp_path.with_name("away"))
    with pytest.raises(TransientError, match="cannot be read"):
        inbox.wakes(NOW + 1)
    away.rename(tmp_path)
    inbox.put("a.xml", NOW + 1)
    assert inbox.wakes(NOW + 2)


def test_whoever_is_woken_early_waits_until_the_file_is_whole(inbox: Inbox) -> None:
    (file := inbox.folder / "a.xml").write_text("half")
    writing = Timer(1, lambda: file.write_text("whole"))
    writing.start()
    wait_until_settled(str(inbox.folder), ["*"], inbox.waiting)
    writing.join()
    assert file.read_text() == "whole"
    assert [Path(arrival.uri).name for arrival in look(inbox.folder, ["*"])] == ["a.xml"]


def test_nobody_waits_for_files_that_are_not_about_to_settle(inbox: Inbox) -> None:
    inbox.put("a.xml", time.time() - 60)
    inbox.put("endless.xml", time.time() + 3600)
    wait_until_settled(str(inbox.folder), ["*"], inbox.waiting)
    assert inbox.asked == 1
    wait_until_settled(str(inbox.folder), ["none"], inbox.waiting)
    assert PATIENCE < GIVEN_UP
