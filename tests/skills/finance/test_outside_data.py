"""The tests that read what the repository does not hold."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.invoices import SOURCES

FINANCE = Path(__file__).parent


def test_without_the_data_they_skip_with_one_line_for_each_folder_that_says_where_it_can_be_had(tmp_path: Path) -> None:
    ran = subprocess.run(
        [sys.executable, "-P", "-m", "pytest", "-q", *(FINANCE / name for name in ("reading/test_structured.py",
         "rules/test_rules.py", "reading/test_pdf.py")), "-k", "example or real_invoice"],
        env={**os.environ, "MUSTER_TEST_DATA": str(tmp_path)},
        cwd=FINANCE.parents[2],
        capture_output=True,
        text=True,
    )  # fmt: skip
    lines = [line for line in ran.stdout.splitlines() if line.startswith("SKIPPED")]
    assert ran.returncode == 0, ran.stdout
    assert len(lines) == len(SOURCES)
    for line, (folder, source) in zip(sorted(lines), sorted(SOURCES.items()), strict=True):
        assert str(tmp_path / folder) in line
        assert source in line
        assert "MUSTER_TEST_DATA" in line
