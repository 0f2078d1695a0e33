"""A short campaign: senders and receivers are killed, each message is done once and in order, and none is lost."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path


def test_messages_of_senders_and_receivers_that_are_killed_are_done_once_and_in_order() -> None:
    script = Path(__file__).with_name("messages.py")
    done = subprocess.run([sys.executable, script, "3000", "3", "0.3"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert "3000 messages: each delivered at least once, done once, in order" in done.stdout
