"""Runs Python source in processes of its own."""

from __future__ import annotations

import subprocess
import sys


def start(source: str, *arguments: str) -> subprocess.Popen[str]:
    """Start `source`; its arguments are in `sys.argv[1:]`."""
    return subprocess.Popen(
        [sys.executable, "-c", source, *arguments], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def finish(*processes: subprocess.Popen[str]) -> list[str]:
    """Wait for all, insist that each succeeded, return what they printed."""
    printed = []
    try:
        for process in processes:
            output, _ = process.communicate(timeout=60)
            assert process.returncode == 0
            printed.append(output)
    finally:
        for process in processes:
            if process.poll() is None:
                process.kill()
                process.wait()
    return printed
