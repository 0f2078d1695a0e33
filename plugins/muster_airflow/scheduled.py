"""Since when each automation of a published version has its schedule: a file beside the folders of the versions.

The bundle writes it before the version becomes current, as the database says; the Dag file reads it.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from datetime import datetime
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from muster.events.bundles import Scheduled
    from muster.language import Definition


@lru_cache(maxsize=2)
def schedules_of(include: Path) -> dict[str, str]:
    """The schedules of a published folder, by automation. Asked for each minute; the folder never changes."""
    from muster.language import load_folder

    definitions = load_folder(include, published=True).definitions
    return {name: said for name, definition in definitions.items() if (said := schedule_of(definition)) is not None}


def schedule_of(definition: Definition) -> str | None:
    """An automation's schedule in words that differ when its times do; None without one."""
    from muster.language.triggers.schedule import ResolvedSchedule

    return next((each.said for each in definition.triggers if isinstance(each, ResolvedSchedule)), None)


def write_since(version: Path, since: Mapping[str, Scheduled]) -> None:
    """Leave it for the Dag file of a version; the version before stays, whose Dag file may be read at this moment."""
    from muster_airflow.versions import replace

    path = _file(version)
    before = dict(list(_read(path).items())[-1:])
    before.pop(version.name, None)
    noted = {name: [each.schedule, each.since.isoformat()] for name, each in since.items()}
    replace(path, json.dumps({**before, version.name: noted}).encode())


def read_since(version: Path) -> dict[str, Scheduled]:
    """Since when each automation of a version has its schedule; empty where nobody has noted it."""
    from muster.events.bundles import Scheduled

    noted = _read(_file(version)).get(version.name, {})
    return {name: Scheduled(said, datetime.fromisoformat(since)) for name, (said, since) in noted.items()}


def _file(version: Path) -> Path:
    return version.parent.parent / "schedules.json"


def _read(path: Path) -> dict[str, dict[str, tuple[str, str]]]:
    with suppress(OSError, ValueError):
        read: dict[str, dict[str, tuple[str, str]]] = json.loads(path.read_bytes())
        return read
    return {}
