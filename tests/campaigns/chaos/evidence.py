"""Keeps what is needed to find out why something did not hold: the events, the deeds, the faults, the logs."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path
from typing import Any

from campaigns.chaos.campaign import Campaign
from muster.database import Database
from muster.events.log import EventLog


def keep(played: Campaign) -> Path:
    """A folder with all of it, which stays."""
    world, folder = played.world, Path(tempfile.mkdtemp(prefix="muster-chaos-kept-", dir="/tmp"))
    database = Database(world.dsn, max_size=2)
    try:
        log = EventLog(database)
        events = (asdict(event) for run in played.started for event in log.read(run.id))
        _write(folder / "events.jsonl", events)
    finally:
        database.close()
    _write(folder / "deeds.jsonl", map(asdict, world.witness.deeds))
    _write(folder / "faults.jsonl", map(asdict, played.strikes))
    tasks = (
        "SELECT row_to_json(it) FROM task_instance it UNION ALL SELECT row_to_json(it) FROM task_instance_history it"
    )
    _write(folder / "tasks.jsonl", (row[0] for row in world.ask_airflow(tasks)))
    (folder / "supervisor.log").write_text("\n".join(world.said))
    shutil.copytree(world.stack.project.logs, folder / "logs")
    shutil.copytree(world.stack.project.airflow_home / "logs", folder / "tasks")
    return folder


def _write(path: Path, rows: Iterable[Any]) -> None:
    path.write_text("".join(json.dumps(row, default=str) + "\n" for row in rows))
