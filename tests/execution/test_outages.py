"""Promises for when something under a step breaks: said clearly, nothing lost, nothing done twice."""

from __future__ import annotations

import asyncio
import os
import subprocess
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import DatabaseLost, TransientError
from muster.execution.concurrency import at_once
from muster.execution.work_item import WorkItem
from muster.local.postgres import free_port
from muster.notifications import Notice, Sender
from muster.operations.cancelling import request_cancel
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "outages")
AUTOMATION = """
automation: tested
steps:
  - {id: effect, skill: disk.once}
  - {id: file, skill: disk.write, with: {size: 100000}, retry: {times: 1, delay: 0s}}
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of 64 kB."""
    folder = tmp_path / "small"
    folder.mkdir()
    mount = ["mount", "-t", "tmpfs", "-o", "size=64k", "muster-test", str(folder)]
    if os.getuid() != 0 or subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("making a small disk takes the right to mount: run the tests as root to see this one")
    yield folder
    subprocess.run(["umount", str(folder)], check=True)


def test_a_full_disk_fails_the_step_clearly_and_repeats_nothing_afterwards(
    tmp_path: Path, database: Database, small_disk: Path
) -> None:
    site = Site(tmp_path, database)
    site.skills("disk", SKILLS)
    object.__setattr__(site.services, "artifacts", small_disk)
    run = site.open(site.definition(AUTOMATION))
    assert site.step(run, "effect").status == "succeeded"
    outcome = site.step(run, "file")
    assert outcome.status == "failed"
    assert "No space left on device" in (outcome.reason or "")
    assert site.close(run).status == "failed"
    # Somebody makes room and clears the step in Airflow.
    subprocess.run(["mount", "-o", "remount,size=1m", str(small_disk)], check=True)
    assert site.step(run, "effect").status == "succeeded"
    assert site.step(run, "file", epoch=1).status == "succeeded"
    with database.connection() as connection:
        assert connection.execute("SELECT count(*) FROM performed").fetchone() == (1,)


def test_a_database_that_is_gone_is_an_outage_that_may_pass(tmp_path: Path) -> None:
    gone = Database(f"postgresql://nobody:secret@127.0.0.1:{free_port()}/muster", timeout=1)
    site = Site(tmp_path, gone)
    with pytest.raises(TransientError) as raised:
        site.step("tested/one", "effect")
    assert "secret" not in str(raised.value), "the message never holds the password"


async def _lost(work_item: WorkItem, act: Callable[[], Awaitable[Any]]) -> Any:
    await act()
    raise DatabaseLost("The database did not answer.")


@pytest.mark.parametrize("retries", [0, 2])
def test_a_database_that_is_lost_under_a_step_is_no_failure_of_the_step(
    tmp_path: Path, database: Database, retries: int
) -> None:
    site = Site(tmp_path, database)
    site.skills("disk", SKILLS)
    retried = f"disk.once, retry: {{times: {retries}, delay: 0s}}}}"
    run = site.open(site.definition(AUTOMATION.replace("disk.once}", retried)))
    object.__setattr__(site.services, "intercept", _lost)
    with pytest.raises(DatabaseLost):
        site.step(run, "effect")
    assert "step.failed" not in [event.type for event in site.services.log.read(run)]
    object.__setattr__(site.services, "intercept", None)
    assert site.step(run, "effect").status == "succeeded"


def test_a_database_that_is_lost_under_a_compensation_does_not_make_the_run_stuck(
    tmp_path: Path, database: Database
) -> None:
    site = Site(tmp_path, database)
    site.skills("disk", SKILLS)
    undone = "disk.once, compensate: {skill: disk.once, retry: {times: 0}}}"
    run = site.open(site.definition(AUTOMATION.replace("disk.once}", undone)))
    site.step(run, "effect")
    request_cancel(site.services.log, run, by="somebody", reason=None)
    object.__setattr__(site.services, "intercept", _lost)
    with pytest.raises(DatabaseLost):
        site.unwind(run)
    assert site.state(run).stuck is None
    object.__setattr__(site.services, "intercept", None)
    assert site.unwind(run) == "succeeded"
    site.close(run)
    assert site.state(run).status == "compensated"


async def test_when_one_of_several_raises_the_others_come_to_their_end_first() -> None:
    ended: list[str] = []

    async def breaks() -> None:
        raise DatabaseLost("The database did not answer.")

    async def slow() -> None:
        await asyncio.sleep(0.1)
        ended.append("slow")

    with pytest.raises(DatabaseLost):
        await at_once([breaks, slow], threads=False)
    assert ended == ["slow"]


async def test_a_notice_whose_database_is_gone_says_so_as_all_the_rest_does() -> None:
    gone = Database(f"postgresql://nobody:secret@127.0.0.1:{free_port()}/muster", timeout=1)
    with pytest.raises(DatabaseLost) as raised:
        await Sender(gone).send(Notice(channel="slack", target="#a", text="x", key="one/tell", run="one"))
    assert "secret" not in str(raised.value)
