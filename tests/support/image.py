"""What the image of the Dockerfile holds besides what is installed: computed from its COPY lines, without an engine."""

from __future__ import annotations

import fnmatch
import re
import shlex
import shutil
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from support.documents import ROOT

Files = dict[PurePosixPath, Path]
"""By its path in the image: the file of the project that is copied there."""


def instructions() -> list[tuple[str, str]]:
    """The Dockerfile's instructions with their arguments, continued lines joined and comments left out."""
    text = (ROOT / "Dockerfile").read_text(encoding="utf-8")
    lines = "\n".join(line for line in text.splitlines() if not line.startswith("#")).replace("\\\n", " ")
    return [(name, rest) for name, _, rest in (line.partition(" ") for line in lines.splitlines() if line.strip())]


def context() -> list[Path]:
    """The files that the engine is given: all but those that .dockerignore holds back."""
    patterns = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    assert patterns[0] == "*", "everything is held back that is not named"
    named = [pattern[1:] for pattern in patterns if pattern.startswith("!")]
    held_back = [pattern.removeprefix("**/") for pattern in patterns[1:] if not pattern.startswith("!")]
    files = [path for name in named for path in _files(ROOT / name)]
    return [path for path in files if not any(fnmatch.fnmatch(part, p) for part in path.parts for p in held_back)]


def image_files() -> Files:
    """The files in the last stage that come from the project."""
    stages: dict[str, Files] = {}
    files: Files = {}
    folder = PurePosixPath("/")
    for name, rest in instructions():
        words = shlex.split(rest) if name in ("FROM", "COPY", "WORKDIR") else []
        if name == "FROM":
            files, folder = {}, PurePosixPath("/")
            base = stages.get(words[0], {})
            files.update(base)
            if len(words) == 3:
                stages[words[2]] = files
        elif name == "WORKDIR":
            folder = folder / words[0]
        elif name == "RUN":
            for removed in re.findall(r"\brm -r (/\S+)", rest):
                for path in [path for path in files if path.is_relative_to(removed)]:
                    del files[path]
        elif name == "COPY" and words[0].startswith("--from="):
            source, target = PurePosixPath(words[1]), folder / words[2]
            found = stages[words[0].removeprefix("--from=")]
            files.update({target / p.relative_to(source): f for p, f in found.items() if p.is_relative_to(source)})
        elif name == "COPY":
            *sources, target = words
            for source in sources:
                files.update(_copied(ROOT / source, folder / target, target.endswith("/") or len(sources) > 1))
    return files


def write_image(folder: Path) -> Path:
    """Write the image's files below `folder`, as below its root."""
    for path, source in image_files().items():
        target = folder / path.relative_to("/")
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(source, target)
    return folder


def _copied(source: Path, target: PurePosixPath, into: bool) -> Iterator[tuple[PurePosixPath, Path]]:
    given = set(context())
    if source.is_file():
        assert source in given, f"{source} is held back by .dockerignore"
        yield (target / source.name if into else target), source
        return
    for file in _files(source):
        if file in given:
            yield target / file.relative_to(source).as_posix(), file


def _files(path: Path) -> Iterator[Path]:
    if path.is_file():
        yield path
    for file in sorted(path.rglob("*")):
        if file.is_file():
            yield file
