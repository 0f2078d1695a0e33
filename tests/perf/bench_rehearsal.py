"""All scenarios of `muster test invoice_processing`: `python tests/perf/bench_rehearsal.py` prints what they take."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import time

from figures import Figure, note

NAME, TARGET = "invoice_processing", 30.0


def main() -> None:
    """Play them once."""
    env = {key: value for key, value in os.environ.items() if key != "MUSTER_REHEARSAL_SERVER"}
    started = time.perf_counter()
    command = [sys.executable, "-m", "muster.cli", "test", NAME, "--json"]
    done = subprocess.run(command, env=env, stdout=subprocess.PIPE, text=True, check=True)
    took, used = time.perf_counter() - started, resource.getrusage(resource.RUSAGE_CHILDREN)
    scenarios = json.loads(done.stdout)[NAME]
    note(
        Figure(
            what=f"`muster test {NAME}`, {len(scenarios)} scenarios",
            measured=f"{took:.0f} s; {used.ru_utime:.0f} CPU-s, {used.ru_stime:.0f} more in the system",
            target=f"{TARGET:g} s",
            met=took <= TARGET,
        )
    )


if __name__ == "__main__":
    main()
