"""Skills that a test gives to its sites: files of Python beside it, which are checked as all others are."""

from __future__ import annotations

from pathlib import Path


def source_of(test: str, name: str) -> str:
    """The text of `skills/<name>.py` beside the file of a test."""
    return (Path(test).parent / "skills" / f"{name}.py").read_text()
