"""A program that runs under its supervisor, as the one sees it who wants its answer."""

from __future__ import annotations

import asyncio
import json
import os
import sys
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager, suppress
from typing import Any, TypeVar

from muster.isolation.machine import PATH
from muster.isolation.order import Ended, Order, in_memory
from muster.isolation.processes import kill_marked

T = TypeVar("T")

MARK = "MUSTER_WORKSPACE"
"""The environment variable that names the workspace: what is left of a program is found by it."""
COMPLAINTS = 4000
"""Bytes of the standard error that are kept, the last ones."""
PATIENCE = 30.0
"""Seconds that a supervisor may take to end everything."""
_CHUNK = 65_536
_LAST = 1.0
"""Seconds that the rest of its output may take once it has ended."""


class TooMuchOutput(Exception):
    """It wrote more than it may."""


class Program:
    """A program at work."""

    def __init__(
        self, process: asyncio.subprocess.Process, status: asyncio.StreamReader, life: int, most: int, mark: str
    ) -> None:
        self.complaints = b""
        """The end of what it wrote to its standard error."""
        self._process, self._status, self._life, self._most, self._mark = process, status, life, most, mark
        self._told = asyncio.ensure_future(status.read())
        self._listens = asyncio.ensure_future(self._listen())

    async def lines(self) -> AsyncIterator[bytes]:
        """What it writes to its standard output, line by line.

        Raises:
            TooMuchOutput: it wrote more than it may.
        """
        rest, total = b"", 0
        while chunk := await self._read():
            total += len(chunk)
            if total > self._most:
                raise TooMuchOutput
            *whole, rest = (rest + chunk).split(b"\n")
            for line in whole:
                yield line
        if rest:
            yield rest

    async def _read(self) -> bytes:
        assert self._process.stdout is not None
        reads = asyncio.ensure_future(self._process.stdout.read(_CHUNK))
        try:
            await asyncio.wait({reads, self._told}, return_when=asyncio.FIRST_COMPLETED)
            if not reads.done():
                # Nobody watches over it any more. Whoever still keeps its output open will be killed.
                await asyncio.wait({reads}, timeout=_LAST)
            return reads.result() if reads.done() else b""
        finally:
            reads.cancel()

    async def ended(self, within: float | None = None) -> Ended | None:
        """How it ended; it is ended itself if it takes longer. None when its supervisor was killed."""
        with suppress(TimeoutError):
            async with asyncio.timeout(within):
                await asyncio.shield(self._told)
        await self.end()
        said = self._told.result() if self._told.done() and not self._told.cancelled() else b""
        return Ended.of(json.loads(said)) if said else None

    async def end(self) -> None:
        """End it with all that it has begun, and wait until nothing of it is there; also when this is cancelled."""
        if self._life >= 0:
            os.close(self._life)
            self._life = -1
            await to_its_end(self._gone())

    async def _gone(self) -> None:
        with suppress(TimeoutError):
            async with asyncio.timeout(PATIENCE):
                # Its other end is held by the supervisor and by the launcher: both are gone.
                await asyncio.shield(self._told)
                await self._process.wait()
        if self._process.returncode is None:
            self._process.kill()
        await self._process.wait()
        if self._process.returncode:
            # The supervisor was killed. The launcher has killed the rest, unless somebody killed it as well.
            await asyncio.to_thread(kill_marked, f"{MARK}={self._mark}")
        assert self._process.stdout is not None
        with suppress(TimeoutError):
            async with asyncio.timeout(_LAST):
                # To its end, or the pipe stays open.
                while await self._process.stdout.read(_CHUNK):
                    pass
        # Whatever it was that kept them open is gone.
        for task in (self._told, self._listens):
            if not task.done():
                task.cancel()
        await asyncio.gather(self._told, self._listens, return_exceptions=True)

    async def _listen(self) -> None:
        assert self._process.stderr is not None
        while chunk := await self._process.stderr.read(_CHUNK):
            self.complaints = (self.complaints + chunk)[-COMPLAINTS:]


@asynccontextmanager
async def running(order: Order, request: bytes, *, most: int) -> AsyncIterator[Program]:
    """The program runs in the body, and is given `request` as its input; after the body nothing of it is left.

    Args:
        most: Bytes that it may write to its standard output.
    """
    numbers = list[int]()
    try:
        numbers += [(written := order.write()), (asked := in_memory(request))]
        numbers += (alive := os.pipe())
        numbers += (status := os.pipe())
        given = (written, alive[0], status[1])
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-I", "-m", "muster.isolation.supervisor", *map(str, given)),
            stdin=asked,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            pass_fds=given,
            # Nothing of Muster's environment, which holds secrets: others of the same user can read it.
            env={"PATH": PATH, **{name: os.environ[name] for name in _PASSED if name in os.environ}},
            start_new_session=True,
            limit=_CHUNK,
        )
        life, kept = alive[1], {alive[1], status[0]}
        reader = await _reader(status[0])
    finally:
        for number in numbers:
            if number not in locals().get("kept", ()):
                os.close(number)
    program = Program(process, reader, life, most, order.environment.get(MARK, ""))
    try:
        yield program
    finally:
        await program.end()


_PASSED = ("LANG", "DOCKER_HOST", "DOCKER_CONFIG", "HOME", "LD_LIBRARY_PATH")


async def _reader(number: int) -> asyncio.StreamReader:
    reader = asyncio.StreamReader()
    loop = asyncio.get_running_loop()
    await loop.connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), os.fdopen(number, "rb", 0))
    return reader


async def to_its_end(work: Coroutine[Any, Any, T]) -> T:
    """Do the work to its end also when whoever waits is cancelled, which happens after that."""
    task, cancelled = asyncio.ensure_future(work), None
    while not task.done():
        try:
            await asyncio.shield(task)
        except asyncio.CancelledError as error:
            if task.cancelled():
                raise
            cancelled = error
    if cancelled is not None:
        raise cancelled
    return task.result()
