"""Imports operators in a process of its own, for what shows only when their modules are executed."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

LIMIT = 300.0
"""Seconds that importing all of them may take."""
IMPORT = """\
import importlib, json, sys
sys.path[:0] = sys.argv[1:2]
failed, skipping = {}, []
for path in sys.argv[3:]:
    module, _, name = path.rpartition(".")
    try:
        operator = getattr(importlib.import_module(module), name)
    except BaseException as error:
        failed[path] = f"{type(error).__name__}: {error}"
        continue
    ancestors = getattr(operator, "__mro__", ())
    if any(base.__name__ == "SkipMixin" and base.__module__.startswith("airflow.") for base in ancestors):
        skipping.append(path)
with open(sys.argv[2], "w") as file:
    json.dump([failed, skipping], file)
"""


def imported(operators: Sequence[str], plugins: Path, limit: float = LIMIT) -> tuple[dict[str, str], list[str]]:
    """Import operators as Airflow does.

    Returns:
        By import path, the errors of those that cannot be imported; and the paths of those that have tasks skipped.
    """
    with tempfile.TemporaryDirectory() as home:  # Airflow writes its configuration there when it is imported.
        answer = Path(home) / "answer.json"  # A file and not standard output, on which the modules may print.
        command = [sys.executable, "-P", "-c", IMPORT, str(plugins), str(answer), *operators]
        environment = {**os.environ, "AIRFLOW_HOME": home}
        end = "ends the process that imports it"
        try:
            subprocess.run(command, env=environment, capture_output=True, timeout=limit, check=False)
        except subprocess.TimeoutExpired:
            end = f"is not imported within {limit:g} s"
        if answer.is_file():
            failed, skipping = json.loads(answer.read_text())
            return failed, skipping
    if len(operators) == 1:
        return {operators[0]: f"its module {end}"}, []
    # One of them ended the process or took too long. Each is imported by itself, to find out which.
    failed, skipping = {}, []
    for operator in operators:
        failed_alone, skipping_alone = imported([operator], plugins, limit)
        failed |= failed_alone
        skipping += skipping_alone
    return failed, skipping
