"""Conflicts between agents: `python tests/perf/bench_conflicts.py`.

The conflicts among 500 tasks are predicted: each declares six of 400 files and a pattern, some wait for others, without
and with 30 earlier runs of each of 20 kinds of task. Then 500 files are merged, and `git merge-file` merges the same.
"""

from __future__ import annotations

import random
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from figures import Figure, note

sys.path.insert(0, str(Path(__file__).parents[1]))

from muster.coordination.conflicts import TaskTouches, predict_conflicts
from muster.coordination.merging import merge_files
from support.edited_files import EditedFile, edited_files

TASKS, MERGES = 500, 500
FILES = [f"src/{part}/{number}.py" for part in ("api", "web", "store", "jobs", "core") for number in range(80)]
PATTERNS = ("src/api/*.py", "src/web/*", "src/*/1*.py", "docs/*")


def main() -> None:
    """Measure both and print the figures."""
    _prediction()
    _merging()


def _prediction() -> None:
    pick = random.Random(1)
    own = {f"kind_{number}": pick.sample(FILES, 12) for number in range(20)}
    history = {kind: [pick.sample(files, 8) for _ in range(30)] for kind, files in own.items()}
    tasks = []
    for number in range(TASKS):
        kind = f"kind_{number % 20}"
        after = tuple(f"t{earlier}" for earlier in pick.sample(range(number), min(number, number % 3)))
        tasks.append(TaskTouches(f"t{number}", after, (*pick.sample(FILES, 6), pick.choice(PATTERNS)), kind))
    for known, runs in (("no history", {}), ("30 earlier runs of each kind", history)):
        began, cpu = time.perf_counter(), time.process_time()
        likely = predict_conflicts(tasks, runs, at_least=0.5)
        took, cpu = time.perf_counter() - began, time.process_time() - cpu
        note(
            Figure(
                what=f"conflicts among {TASKS} tasks predicted, {known}",
                measured=f"{took:.2f} s ({cpu:.2f} s of CPU; {len(likely):,} at least even)",
                target="1 s",
                met=took < 1,
            )
        )


def _merging() -> None:
    cases = list(edited_files(MERGES, 1))
    merge_files(b"a\nb\nc\n", b"1\nb\nc\n", b"a\nb\n3\n")  # the library is loaded by the first one
    began = time.perf_counter()
    for case in cases:
        merge_files(case.base, case.ours, case.theirs)
    took = (time.perf_counter() - began) / MERGES
    compared = f"{_by_git(cases):.1f} ms" if shutil.which("git") else ""
    note(Figure(what="a file merged", measured=f"{took * 1000:.2f} ms", compared=compared))


def _by_git(cases: list[EditedFile]) -> float:
    """Milliseconds for a merge by `git merge-file`."""
    with tempfile.TemporaryDirectory(prefix="muster-bench-") as folder:
        began = time.perf_counter()
        for case in cases:
            for name in ("base", "ours", "theirs"):
                (Path(folder) / name).write_bytes(getattr(case, name))
            subprocess.run(["git", "merge-file", "-p", "-q", "ours", "base", "theirs"], cwd=folder, capture_output=True)
        return (time.perf_counter() - began) * 1000 / MERGES


if __name__ == "__main__":
    main()
