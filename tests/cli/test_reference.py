"""The page about the commands says what the commands say."""

from __future__ import annotations

from pathlib import Path

from muster.cli.reference import CODES, render

PAGE = Path(__file__).parents[2] / "docs" / "cli.md"


def test_the_page_is_up_to_date() -> None:
    assert PAGE.read_text() == render(), "write it afresh: python -m muster.cli.reference > docs/cli.md"


def test_every_command_and_every_exit_code_is_on_it() -> None:
    for name in ("up", "down", "status", "doctor", "new", "lint", "schema", "list", "agents", "skill"):
        assert f"### `muster {name}" in PAGE.read_text()
    for code in CODES:
        assert f"| {int(code)} |" in PAGE.read_text()
