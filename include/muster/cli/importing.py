"""What only shows of an operator when its module is executed: found out in a process of its own."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

IMPORT = """\
import importlib, json, sys
sys.path[:0] = sys.argv[1:2]
failed, skipping = {}, []
for path in sys.argv[2:]:
    module, _, name = path.rpartition(".")
    try:
        found = getattr(importlib.import_module(module), name)
    except Exception as error:
        failed[path] = f"{type(error).__name__}: {error}"
        continue
    ancestors = getattr(found, "__mro__", ())
    if any(each.__name__ == "SkipMixin" and each.__module__.startswith("airflow.") for each in ancestors):
        skipping.append(path)
print("\\n" + json.dumps([failed, skipping]))
"""


def imported(operators: Sequence[str], plugins: Path) -> tuple[dict[str, str], list[str]]:
    """Import operators as Airflow does: the errors of those that cannot be, and those that have tasks skipped."""
    command = [sys.executable, "-P", "-c", IMPORT, str(plugins), *operators]
    with tempfile.TemporaryDirectory() as home:  # Airflow writes its configuration there when it is imported.
        environment = {**os.environ, "AIRFLOW_HOME": home}
        tried = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=300, check=True)
    failed, skipping = json.loads(tried.stdout.splitlines()[-1])
    return failed, skipping
