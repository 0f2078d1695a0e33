"""Runs a program under its supervisor and prints how it ended: `supervised.py FOLDER NAMESPACES SOURCE [LIMITS]`.

A process of its own, so that a test can run it as another user, and kill it.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
from dataclasses import asdict

from muster.isolation.machine import PATH, machine
from muster.isolation.order import Order
from muster.isolation.processes import threads_of_user
from muster.isolation.running import MARK, running

LIMITS = {"seconds": 30, "cpu_seconds": 10, "memory_mb": 100, "processes": 20, "disk_mb": 10, "files": 100}


async def main(folder: str, namespaces: str, source: str, limits: str = "{}") -> None:
    """Run it."""
    own = machine().unshare(network=True) if namespaces == "namespaces" else ()
    order = Order(
        program=["/usr/bin/python3", "-c", source],
        environment={"PATH": PATH, MARK: f"test-{os.getpid()}"},
        folder=folder,
        measured=folder,
        guarded=False,
        namespaces=own,
        threads=24 if own else 24 + threads_of_user(os.geteuid()) + 50,
        limits={**LIMITS, **json.loads(limits)},
    )
    async with running(order, b"{}\n", most=10_000) as program:
        async for line in program.lines():
            print(line.decode(), flush=True)
        ended = await program.ended()
    print(json.dumps(None if ended is None else asdict(ended)), flush=True)


if __name__ == "__main__":
    asyncio.run(main(*sys.argv[1:]))
