"""Leases, effects and breakers against models of them, played by several processes in any order and at once."""

from __future__ import annotations

import pytest

from support.machines import MACHINES
from support.recovery_machines import play
from support.recovery_processes import Processes


@pytest.mark.parametrize("what", MACHINES)
def test_it_keeps_its_promises_whatever_several_processes_do(dsn: str, what: str) -> None:
    with Processes(dsn) as processes:
        play(processes, MACHINES[what], examples=25, shrink=True)
