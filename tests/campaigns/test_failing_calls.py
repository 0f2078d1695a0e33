"""A short campaign: while a fifth of all calls fails, every run ends in a state that can be trusted."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_runs_whose_calls_fail_end_completed_or_compensated() -> None:
    script = Path(__file__).with_name("failing_calls.py")
    done = subprocess.run([sys.executable, script, "60", "3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "100.00% of 60 runs completed or compensated" in done.stdout
