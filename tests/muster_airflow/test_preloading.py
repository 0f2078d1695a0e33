"""What a triggerer has imported by the time it forks off the process that performs steps."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LOADED = """
import sys
import airflow.cli.commands.COMMAND_command
# Each of Airflow's jobs asks for it as it is made, before it does anything.
from airflow.listeners.listener import get_listener_manager
from airflow.plugins_manager import get_import_errors
manager = get_listener_manager()
assert not get_import_errors()
print(manager.has_listeners, *[name in sys.modules for name in ("pydantic_ai", "muster.saga.closing")])
"""


@pytest.mark.parametrize(("command", "loaded"), [("triggerer", "True True"), ("scheduler", "False False")])
def test_the_triggerer_alone_has_loaded_what_steps_use_before_it_begins(command: str, loaded: str) -> None:
    env = {**os.environ, "AIRFLOW__CORE__PLUGINS_FOLDER": str(ROOT / "plugins"), "PYTHONPATH": str(ROOT / "plugins")}
    done = subprocess.run(
        [sys.executable, "-c", LOADED.replace("COMMAND", command)], env=env, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    # No listener is registered: with one, Airflow refuses operators of others that end in the triggerer.
    assert done.stdout.splitlines()[-1] == f"False {loaded}"
