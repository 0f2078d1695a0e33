"""Promises for when something under a step breaks: said clearly, nothing lost, nothing done twice."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.local.postgres import free_port
from support.runs import Site

SKILLS = """
from pathlib import Path
from muster.skills import SkillContext, skill

@skill("disk.write")
def write(size: int, context: SkillContext) -> int:
    "Write a file into the run's folder."
    (context.workspace / "file").write_bytes(b"x" * size)
    return size

@skill("disk.once")
def once(context: SkillContext) -> str:
    "An effect outside."
    with context.database.connection() as connection:
        connection.execute("CREATE TABLE IF NOT EXISTS performed (key text)")
        connection.execute("INSERT INTO performed VALUES (%s)", (context.key,))
    return context.key
"""
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
