"""Waiting for what happens in another process."""

from __future__ import annotations

import time
from collections.abc import Callable


def eventually(promise: Callable[[], bool], patience: float = 30.0) -> bool:
    """True as soon as `promise` holds, False when it does not within `patience` seconds."""
    deadline = time.monotonic() + patience
    while not promise():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True
