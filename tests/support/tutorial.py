"""The tutorial, taken from its page: the files it has the reader write, the commands, and what they print."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Collection, Iterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from support.documents import ROOT, SHELL, Block, blocks

PAGE = ROOT / "docs" / "tutorial.md"
VARIES = [
    (r"\d{4}-\d\d-\d\d \d\d:\d\d(:\d\d)?", "TIME"),
    (r"\b[0-9a-f]{12}\b", "HASH"),
    (r"localhost:\d+", "ADDRESS"),
    (r"\s+", " "),
]
"""What differs from run to run, and what stands for it when the page is compared with what was printed."""


@dataclass(frozen=True)
class Scene:
    """A file to write, or commands to type."""

    block: Block
    shown: tuple[str, ...] = ()
    """Lines that the page says are printed."""

    @property
    def is_file(self) -> bool:
        """True of a file, false of commands."""
        return self.block.language not in SHELL


def scenes() -> list[Scene]:
    """The tutorial in its order."""
    found: list[Scene] = []
    for block in blocks("yaml", "python", "text", *SHELL):
        if block.page != PAGE:
            continue
        if block.language == "text":
            found[-1] = replace(found[-1], shown=tuple(block.text.splitlines()))
        else:
            assert "tutorial" in block.marks, f"{block} is not executed"
            found.append(Scene(block))
    return found


@dataclass
class Reader:
    """Does in a folder what the page says."""

    folder: Path
    variables: Mapping[str, str] = field(default_factory=dict)
    """Of the environment, beside what the test's own says."""

    def write(self, scene: Scene) -> Path:
        """Write a file, add to its end, or put lines above its inputs; its path."""
        first, _, text = scene.block.text.partition("\n")
        path = self.folder / first.removeprefix("# ")
        if "append" in scene.block.marks:
            text = path.read_text() + text
        elif "insert" in scene.block.marks:
            text = path.read_text().replace("inputs:\n", f"{text}inputs:\n", 1)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def type(self, scene: Scene, only: Collection[str] = ()) -> tuple[int, str]:
        """The exit code of a scene's commands, all of them or those of `muster` in `only`, and what they printed."""
        lines = [line for line in scene.block.text.splitlines() if not only or _is_one_of(line, only)]
        place = self.folder / ".place"
        script = "\n".join([f"trap 'pwd > {place}' EXIT", *lines])
        inherited = {name: value for name, value in os.environ.items() if not name.startswith(("MUSTER_", "DATABASE_"))}
        path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", script],
            cwd=self.folder,
            env=inherited | {"PATH": path, "COLUMNS": "100"} | dict(self.variables),
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            check=False,
            timeout=600,
        )
        where = Path(place.read_text().strip())
        place.unlink()
        self.folder = where
        return done.returncode, done.stdout


def missing(shown: Collection[str], printed: str) -> list[str]:
    """The lines of the page that do not begin a line of what was printed, in the page's order."""
    lines: Iterator[str] = iter([_plain(line) for line in printed.splitlines()])
    return [line for line in shown if line.strip() and not any(other.startswith(_plain(line)) for other in lines)]


def _plain(line: str) -> str:
    for pattern, stands in VARIES:
        line = re.sub(pattern, stands, line)
    return line.strip()


def _is_one_of(line: str, only: Collection[str]) -> bool:
    command, *arguments = line.split()
    return command != "muster" or arguments[0] in only
