"""Kills or stops a process at each step that it takes outside of itself, one step after the other."""

from __future__ import annotations

import multiprocessing
import os
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from functools import wraps
from multiprocessing import forkserver
from multiprocessing.process import BaseProcess
from typing import Any

import psutil
import psycopg

MOST = 200
"""More steps than any work tested here takes."""
_WRITES = frozenset("wax+")

Work = Callable[..., None]
"""A function of a module: another process imports it."""


class Deaths:
    """Runs work in processes of its own that die where they are told to."""

    def __init__(self, *preload: str) -> None:
        self._context = multiprocessing.get_context("forkserver")
        self._context.set_forkserver_preload([__name__, *preload])
        # What it imports beforehand it looks for by this alone, in Python 3.11.
        before = os.environ.get("PYTHONPATH")
        os.environ["PYTHONPATH"] = os.pathsep.join(sys.path)
        try:
            forkserver.ensure_running()
        finally:
            del os.environ["PYTHONPATH"]
            if before is not None:
                os.environ["PYTHONPATH"] = before

    def each(self, work: Work, *arguments: Any) -> Iterator[str]:
        """Once for each step that `work` takes: it has died there. It is given `arguments` and a name of its own."""
        for number in range(1, MOST):
            name = f"death-{number}"
            code = self._run(work, number, [*arguments, name])
            if code == 0:
                return
            assert code == -signal.SIGKILL, f"{work.__name__} ended with {code}"
            yield name
        raise AssertionError(f"{work.__name__} takes more than {MOST} steps")

    def stalls(self, work: Work, *arguments: Any) -> Iterator[tuple[str, Callable[[], int | None]]]:
        """Once for each step that `work` takes: it has stopped there, until the function is called, which returns how
        it has ended. It is given `arguments` and a name of its own.
        """
        for number in range(1, MOST):
            name = f"stall-{number}"
            with self._started(work, number, [*arguments, name], signal.SIGSTOP) as process:
                while process.is_alive() and not _has_stopped(process.pid):
                    process.join(0.02)
                if not process.is_alive():
                    assert process.exitcode == 0, f"{work.__name__} ended with {process.exitcode}"
                    return
                yield name, lambda process=process: _let_go_on(process)  # type: ignore[misc]
        raise AssertionError(f"{work.__name__} takes more than {MOST} steps")

    def perform(self, work: Work, *arguments: Any) -> None:
        """The work in a process that lives."""
        assert self._run(work, 0, arguments) == 0

    def start(self, work: Work, *arguments: Any) -> AbstractContextManager[BaseProcess]:
        """The work in a process that goes on meanwhile."""
        return self._started(work, 0, arguments, signal.SIGKILL)

    def _run(self, work: Work, number: int, arguments: Sequence[Any]) -> int | None:
        with self._started(work, number, arguments, signal.SIGKILL) as process:
            process.join(60)
            return process.exitcode

    @contextmanager
    def _started(
        self, work: Work, number: int, arguments: Sequence[Any], sent: signal.Signals
    ) -> Iterator[BaseProcess]:
        process = self._context.Process(target=_working, args=(work, number, arguments, sent))
        process.start()
        try:
            yield process
        finally:
            process.kill()
            process.join()


def _has_stopped(pid: int | None) -> bool:
    try:
        return psutil.Process(pid).status() == psutil.STATUS_STOPPED
    except psutil.NoSuchProcess:
        return False


def _let_go_on(process: BaseProcess) -> int | None:
    assert process.pid is not None
    os.kill(process.pid, signal.SIGCONT)
    process.join(60)
    assert process.exitcode is not None, "it did not end"
    return process.exitcode


def _working(work: Work, number: int, arguments: Sequence[Any], sent: signal.Signals) -> None:
    if number:
        _stop_at(number, sent)
    work(*arguments)


def _stop_at(number: int, sent: signal.Signals) -> None:
    """Die, or stop, before or after the database answers, before a file is opened to be written or renamed, or before a
    connection is made: after what came last, so that it has happened and nothing is known of it.
    """
    left = number

    def step() -> None:
        nonlocal left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), sent)

    def heard(event: str, details: tuple[Any, ...]) -> None:
        writes = event == "open" and isinstance(details[1], str) and not _WRITES.isdisjoint(details[1])
        if writes or event in ("os.rename", "socket.connect"):
            step()

    def around(wait: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(wait)
        def stepping(self: Any, *arguments: Any, **more: Any) -> Any:
            step()
            answer = wait(self, *arguments, **more)
            step()
            return answer

        return stepping

    def asynchronously_around(wait: Callable[..., Any]) -> Callable[..., Any]:
        @wraps(wait)
        async def stepping(self: Any, *arguments: Any, **more: Any) -> Any:
            step()
            answer = await wait(self, *arguments, **more)
            step()
            return answer

        return stepping

    sys.addaudithook(heard)
    psycopg.Connection.wait = around(psycopg.Connection.wait)  # type: ignore[method-assign]
    psycopg.AsyncConnection.wait = asynchronously_around(psycopg.AsyncConnection.wait)  # type: ignore[method-assign]
