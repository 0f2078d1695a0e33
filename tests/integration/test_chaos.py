"""A short fault campaign on a stack of its own: what `make chaos` does for long."""

from __future__ import annotations

from pathlib import Path
from random import Random

import pytest

from campaigns.chaos.campaign import Campaign
from campaigns.chaos.faults import Fault, Kill, KillPostgres, KillWorker
from campaigns.chaos.judging import judge
from campaigns.chaos.plan import plan
from campaigns.chaos.settling import settle
from campaigns.chaos.table import table
from campaigns.chaos.world import world

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

RUNS, SEED = 8, 730
"""With this seed two of the runs are meant to fail, one of them after it was stuck and one after people have answered;
one that fans out is cancelled; agents act with their tools."""


def test_a_short_campaign_loses_and_doubles_nothing(tmp_path: Path) -> None:
    faults: list[Fault] = [KillWorker(), Kill("triggerer"), KillPostgres()]
    tmp_path.chmod(0o755)
    with world(Random(SEED), tmp_path, print) as broken:
        played = Campaign(broken, plan(RUNS, Random(SEED)), Random(SEED), print, faults, at_once=4, most=3)
        played.play()
        report = judge(played, settle(played))
    print(table(report, RUNS, SEED, 0.0))
    assert (report.lost, report.doubled, report.invariants) == ([], [], [])
    # One that was cancelled before it had done anything is failed.
    assert report.ends["succeeded"] + report.ends["compensated"] + report.ends["failed"] == RUNS
    assert report.ends["compensated"] >= 2
    assert report.cancelled >= 1
    assert report.resumed >= 1
    assert len(report.strikes) == 3
    assert report.deeds > RUNS
