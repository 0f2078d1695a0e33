"""Promises of the folders that runs make files in: each run has its own, for good."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.events.log import EventLog
from muster.events.model import EventType, NewEvent
from muster.execution.workspaces import workspace_of
from support.runs import Site

ALIKE = [
    "pay/mail:1",
    "pay/mail-1",
    "pay__mail-1",
    "pay/mail_1",
    "pay/mail/1",
    "pay/mail 1",
    "pay/Mail:1",
    "pay/mäil:1",
]


def test_no_two_runs_have_the_same_folder(tmp_path: Path) -> None:
    folders = {run: str(workspace_of(tmp_path, run)).casefold() for run in [*ALIKE, "x" * 250, "x" * 251]}
    for one, other in combinations(folders, 2):
        assert folders[one] != folders[other], (one, other)
    for folder in folders.values():
        Path(folder).mkdir(parents=True)


def test_a_run_that_is_open_since_before_keeps_its_folder_and_no_other_gets_it(
    tmp_path: Path, database: Database, dsn: str
) -> None:
    services = Site(tmp_path, database).services
    earlier = services.artifacts / "pay__mail-1"
    earlier.mkdir(parents=True)
    EventLog(database).append("pay/mail:1", [NewEvent(type=EventType.RUN_OPENED, data={"inputs": {}})])
    with psycopg.connect(dsn) as connection:
        connection.execute("UPDATE server_epochs SET began_at = clock_timestamp() WHERE epoch = 1")
    EventLog(database).append("pay/mail-1", [NewEvent(type=EventType.RUN_OPENED, data={"inputs": {}})])
    assert services.workspace("pay/mail:1") == earlier
    assert services.workspace("pay/mail-1") != earlier
    assert services.workspace("pay/mail-1").is_dir()


@pytest.mark.parametrize("run", ["pay/mail:1", "pay/mail-1"])
def test_a_new_run_has_a_folder_of_its_own(tmp_path: Path, database: Database, run: str) -> None:
    services = Site(tmp_path, database).services
    (services.artifacts / "pay__mail-1").mkdir(parents=True)
    EventLog(database).append(run, [NewEvent(type=EventType.RUN_OPENED, data={"inputs": {}})])
    assert services.workspace(run) == workspace_of(services.artifacts, run)
