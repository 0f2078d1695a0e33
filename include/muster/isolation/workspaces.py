"""The folder of one attempt at a task, in which its program works; and folders whose makers are gone."""

from __future__ import annotations

import json
import os
import re
import secrets
import shutil
import stat
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from fcntl import LOCK_EX, LOCK_NB, flock
from hashlib import sha256
from pathlib import Path
from typing import Any

from muster.isolation import containers, worktrees

FOLDER = ".tasks"
"""The folder in a run's own that holds those of its tasks; hidden, so that nothing in it is read as a document."""
NOTE = "task.json"
"""The file in a workspace that says whose it is. It is locked while somebody works there."""
_READABLE = 60


@dataclass(frozen=True)
class Workspace:
    """A folder, with one to work in, one for what is temporary, and a home."""

    folder: Path
    lock: int
    """The locked note. Whoever holds this file open holds the lock: it ends with the process, however that ends."""

    @property
    def name(self) -> str:
        """No other workspace has it."""
        return self.folder.name

    @property
    def plain_name(self) -> str:
        """The same, as git and Docker take a name."""
        return plain(self.name)

    @property
    def work(self) -> Path:
        """Where the program begins."""
        return self.folder / "work"

    @property
    def temporary(self) -> Path:
        """Where it puts what it does not need for long."""
        return self.folder / "tmp"

    @property
    def home(self) -> Path:
        """What it takes for its home."""
        return self.folder / "home"

    def leave(self, *, keep: bool) -> None:
        """Let go of it; it is removed unless it is to be kept."""
        try:
            if keep:
                note = json.loads((self.folder / NOTE).read_text(encoding="utf-8"))
                os.pwrite(self.lock, json.dumps({**note, "kept": True}).encode(), 0)
            else:
                remove(self.folder)
        finally:
            os.close(self.lock)


def make(
    run_folder: Path,
    *,
    run: str,
    step: str,
    index: int | None,
    key: str,
    repository: str | None = None,
    contained: bool = False,
) -> Workspace:
    """A new workspace for one attempt at the work `key` of a run; what earlier attempts left is removed."""
    prefix = _prefix(step if index is None else f"{step}-{index}", key)
    folder = run_folder / FOLDER
    for left in left_over(folder, prefix):
        if not left.kept:
            left.clear()
    path = folder / f"{prefix}{secrets.token_hex(4)}"
    path.mkdir(parents=True)
    for name in ("work", "tmp", "home"):
        (path / name).mkdir(mode=0o700)
    # Made under another name first: a note that is there is locked, or its maker is gone.
    made = path / f".{NOTE}"
    lock = os.open(made, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    flock(lock, LOCK_EX)
    note = {"run": run, "step": step, "index": index, "key": key, "repository": repository, "contained": contained}
    os.write(lock, json.dumps(note).encode())
    made.rename(path / NOTE)
    return Workspace(path, lock)


def plain(name: str) -> str:
    """A workspace's name as git and Docker take one."""
    return f"muster-{re.sub(r'[^A-Za-z0-9_.-]+', '-', name)}"


def _prefix(task: str, key: str) -> str:
    name = re.sub(r"[^\w.+-]", "-", task, flags=re.ASCII)[:_READABLE]
    return f"{name}~{sha256(key.encode()).hexdigest()[:12]}~"


@dataclass(frozen=True)
class LeftOver:
    """A workspace that nobody works in any more."""

    folder: Path
    run: str
    step: str
    index: int | None
    made_at: datetime
    kept: bool
    """True when it was kept on purpose."""

    def clear(self) -> None:
        """Remove it, if still nobody works in it."""
        if (lock := _locked(self.folder)) is not None:
            try:
                remove(self.folder)
            finally:
                os.close(lock)


def left_over(folder: Path, prefix: str = "") -> Iterator[LeftOver]:
    """The workspaces in a run's folder of them, whose names begin so, in which nobody works."""
    for path in sorted(folder.glob(f"{prefix}*")) if folder.is_dir() else ():
        if (lock := _locked(path)) is None:
            continue
        try:
            made_at = datetime.fromtimestamp(os.fstat(lock).st_mtime, UTC)
        finally:
            os.close(lock)
        note = _note(path)
        index, kept = note.get("index"), bool(note.get("kept"))
        yield LeftOver(path, str(note.get("run", "")), str(note.get("step", "")), index, made_at, kept)


def _locked(folder: Path) -> int | None:
    """The locked note of a workspace; None when somebody works there, or it is being made or removed."""
    try:
        lock = os.open(folder / NOTE, os.O_RDWR | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError:
        return None
    try:
        flock(lock, LOCK_EX | LOCK_NB)
    except OSError:
        os.close(lock)
        return None
    return lock


def remove(folder: Path) -> None:
    """Remove a workspace with its container and its worktree, whatever a program did to the rights of what is in it."""
    note = _note(folder)
    if note.get("contained"):
        containers.remove(plain(folder.name))

    def again(act: object, path: str, _: object) -> None:
        with suppress(OSError):
            Path(path).parent.chmod(0o700)
            # No link: what one leads to is not the program's.
            if stat.S_ISDIR(Path(path).lstat().st_mode):
                Path(path).chmod(0o700)
        with suppress(OSError):
            if callable(act):
                act(path)

    # Twice: a folder that could not be read is passed over by the first look.
    for _ in range(2):
        if folder.exists():
            shutil.rmtree(folder, onerror=again)
    if isinstance(repository := note.get("repository"), str):
        worktrees.remove(repository, plain(folder.name))


def _note(folder: Path) -> dict[str, Any]:
    try:
        note = json.loads((folder / NOTE).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return note if isinstance(note, dict) else {}
