"""Several processes at one board: no write is lost, and one that is killed leaves all of its write or nothing."""

from __future__ import annotations

import multiprocessing
import os
import signal
import time

from coordination.blackboard.conftest import Open
from support.board_processes import EACH, count, write_for_ever

PROCESSES = 4


def test_of_those_who_count_at_once_nobody_loses_one(open_board: Open, dsn: str) -> None:
    context = multiprocessing.get_context("spawn")
    processes = [context.Process(target=count, args=(dsn, number)) for number in range(PROCESSES)]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
    assert [process.exitcode for process in processes] == [0] * PROCESSES
    board = open_board()
    entry = board.get("count")
    assert entry is not None
    assert (entry.value, entry.version) == (PROCESSES * EACH, PROCESSES * EACH)
    values = [each.value for each in board.history("count", limit=1_000)]
    assert values == list(range(PROCESSES * EACH, 0, -1))
    facts = board.get("facts")
    assert facts is not None
    assert facts.value == {f"p{number}": EACH - 1 for number in range(PROCESSES)}


def test_a_writer_that_is_killed_leaves_all_of_a_write_or_nothing(open_board: Open, dsn: str) -> None:
    process = multiprocessing.get_context("spawn").Process(target=write_for_ever, args=(dsn,))
    process.start()
    board = open_board()
    while (entry := board.get("note")) is None or entry.value < 20:
        assert process.is_alive()
        time.sleep(0.01)
    assert process.pid is not None
    os.kill(process.pid, signal.SIGKILL)
    process.join()
    # The server may still be at its last commit.
    time.sleep(0.5)
    found = board.get_all(["count", "note"])
    assert found["count"].value == found["note"].value == found["note"].version
    assert board.put("note", "goes on") == found["note"].version + 1
