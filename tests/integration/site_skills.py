"""Skills that integration tests put into a site: they write down each time they are performed."""

from __future__ import annotations

import asyncio
import os
import time

from muster.skills import SkillContext, skill

TABLE = "CREATE TABLE IF NOT EXISTS performed (key text, pid integer)"


@skill("proving.note")
def note(text: str, context: SkillContext, seconds: float = 0) -> str:
    """Write down that it was performed, once for each idempotency key, after a while."""
    time.sleep(seconds)
    _write(context)
    return text


@skill("proving.wait", lane="async")
async def wait(seconds: float, context: SkillContext) -> float:
    """Wait in the triggerer, then write down that it was performed."""
    await asyncio.sleep(seconds)
    await asyncio.to_thread(_write, context)
    return seconds


def _write(context: SkillContext) -> None:
    with context.database.connection() as connection:
        connection.execute("SELECT pg_advisory_xact_lock(7)")
        connection.execute(TABLE)
        connection.execute(
            "INSERT INTO performed (key, pid) SELECT %(key)s, %(pid)s"
            " WHERE NOT EXISTS (SELECT 1 FROM performed WHERE key = %(key)s)",
            {"key": context.key, "pid": os.getpid()},
        )
