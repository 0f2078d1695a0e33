"""Turns: never more than there are, in the order in which they were asked for, for threads and coroutines alike."""

from __future__ import annotations

import asyncio
import multiprocessing
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from muster.errors import PermanentError
from muster.turns import Turns


def wanted() -> None:
    """Whoever waits goes on waiting."""


def test_threads_and_coroutines_together_never_have_more_turns_than_there_are() -> None:
    turns, at_it, most, lock = Turns(3), 0, 0, threading.Lock()

    def count(change: int) -> None:
        nonlocal at_it, most
        with lock:
            at_it += change
            most = max(most, at_it)

    def block() -> None:
        for _ in range(50):
            turns.take(wanted)
            count(1)
            time.sleep(0.0005)
            count(-1)
            turns.give_back()

    async def wait() -> None:
        for _ in range(50):
            await turns.atake()
            count(1)
            await asyncio.sleep(0.0005)
            count(-1)
            turns.give_back()

    async def loop() -> None:
        await asyncio.gather(*(wait() for _ in range(6)))

    with ThreadPoolExecutor(8) as threads:
        work = [threads.submit(block) for _ in range(6)] + [threads.submit(asyncio.run, loop()) for _ in range(2)]
        for each in work:
            each.result(60)
    assert most == 3
    for _ in range(3):
        turns.take(wanted)


async def test_who_asked_first_is_first_and_who_left_is_passed_over() -> None:
    turns, order = Turns(1), list[int]()
    await turns.atake()

    async def wait(number: int) -> None:
        await turns.atake()
        order.append(number)
        turns.give_back()

    waiting = [asyncio.create_task(wait(number)) for number in range(4)]
    await asyncio.sleep(0)
    waiting[1].cancel()
    turns.give_back()
    # One that is given its turn in the moment in which it is cancelled hands it on.
    waiting[0].cancel()
    await asyncio.gather(*waiting, return_exceptions=True)
    assert order == [2, 3]
    await asyncio.wait_for(turns.atake(), 5)


def test_a_thread_that_nobody_waits_for_any_more_waits_no_longer() -> None:
    turns = Turns(1)
    turns.take(wanted)

    def unwanted() -> None:
        raise KeyError("unwanted")

    with pytest.raises(KeyError):
        turns.take(unwanted)
    turns.give_back()
    turns.take(wanted)


def test_a_forked_child_has_turns_of_its_own() -> None:
    turns = Turns(1)
    turns.take(wanted)
    child = multiprocessing.get_context("fork").Process(target=turns.take, args=(wanted,))
    child.start()
    child.join(30)
    assert child.exitcode == 0


async def test_a_coroutine_that_would_stop_all_others_is_refused() -> None:
    """Those who have a turn are coroutines of the same loop: they could never give it back."""
    turns = Turns(1)
    turns.take(lambda: None)
    with pytest.raises(PermanentError, match="aconnection"):
        turns.take(lambda: None)
    turns.give_back()
    turns.take(lambda: None)
