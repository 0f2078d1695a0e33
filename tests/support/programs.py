"""Programs as agents have them: Python that a test writes, under limits that a machine does not notice."""

from __future__ import annotations

import sys
import textwrap
from pathlib import Path
from typing import Any

from muster.agents.spec import AgentSpec
from muster.isolation.spec import Command

SMALL = {"seconds": 30, "cpu_seconds": 10, "memory_mb": 100, "processes": 20, "disk_mb": 10, "files": 100}
"""Limits of a program in a test."""
PYTHON = "/usr/bin/python3" if Path("/usr/bin/python3").exists() else sys.executable


def script(source: str) -> list[str]:
    """A Python program as an argument list; `say` writes a line of the protocol, `request` is what it was asked."""
    begin = "import json, os, sys, time\nrequest = json.loads(sys.stdin.readline())\n"
    begin += "def say(**line): print(json.dumps(line), flush=True)\n"
    return [PYTHON, "-c", begin + textwrap.dedent(source)]


def program(source: str, **more: Any) -> AgentSpec:
    """An agent that is a Python program."""
    limits = {**SMALL, **more.pop("limits", {})}
    spec = {"id": "worker", "role": "Works.", **more.pop("spec", {})}
    command = {"program": script(source), "limits": limits, "network": "any", **more}
    return AgentSpec.model_validate({**spec, "command": Command.model_validate(command)})


def processes_with(text: str) -> list[int]:
    """The processes whose command line holds a text."""
    found = []
    for path in Path("/proc").iterdir():
        if path.name.isdigit():
            try:
                if text.encode() in (path / "cmdline").read_bytes():
                    found.append(int(path.name))
            except OSError:
                continue
    return found


def parent(pid: int) -> int:
    """The process that has started one."""
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def ancestors(pid: int) -> list[int]:
    """A process and those above it."""
    return [pid] if pid <= 1 else [pid, *ancestors(parent(pid))]
