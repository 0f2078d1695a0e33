"""The one place where a file is opened because somebody named it: only in allowed folders, and through no link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.errors import PermanentError
from muster.files import path_named, site_path

MEGABYTE = 1024 * 1024
MAX_FILE_MB = 20
"""Largest file that is read unless `max_file_mb` says otherwise; an invoice of a thousand lines takes about one."""
LARGEST_MB = 2048
"""What `max_file_mb` may say: a file is read into memory whole."""

# A directory need not be readable to be passed through, where the system knows that.
_FOLDER = getattr(os, "O_PATH", os.O_RDONLY) | os.O_DIRECTORY | os.O_CLOEXEC
# Without O_NONBLOCK a pipe that nobody writes to would hold the reader for ever.
_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC


class DocumentRefused(PermanentError):
    """The file may not be read, or there is none; which of the two is not said, and no trying finds out."""


class DocumentTooLarge(PermanentError):
    """The file may be read and holds more than is read of any."""


@dataclass(frozen=True)
class Workspaces:
    """The folders of runs' own files, of which a work item may read some."""

    folder: Path
    """Absolute; each run has one of its own in it."""
    may_read: Callable[[str], bool]
    """Says of one of them, by its name, whether it may be read. Asked when a file in it is named, and never before."""


@dataclass(frozen=True)
class Documents:
    """The files that a work item may read: regular files in these folders and below, no hidden ones and no links.

    Whoever may start a run names files in its inputs, and an agent names them to its tools. So skills open files here
    and nowhere else.
    """

    folders: tuple[Path, ...] = ()
    """Absolute. That one is a link itself is its owner's wish."""
    max_bytes: int = MAX_FILE_MB * MEGABYTE
    workspaces: Workspaces | None = None

    def read(self, name: str, *, max_bytes: int | None = None) -> bytes:
        """The content of a file, given by its path or `file://` URI.

        Raises:
            DocumentRefused: it is in no allowed folder, is missing, hidden, a link, unreadable, or no file at all.
            DocumentTooLarge: it is larger than `max_bytes` and than any file may be.
        """
        most = self.max_bytes if max_bytes is None else min(max_bytes, self.max_bytes)
        content = self._read(name, most + 1)
        if content is None:
            raise _refused(name)
        if len(content) > most:
            raise DocumentTooLarge(f"{name} is larger than {most / MEGABYTE:.3g} MB and was not read.")
        return content

    def _read(self, name: str, most: int) -> bytes | None:
        try:
            path = _path(name)
        except ValueError:
            return None
        for folder, inside in self._places(path):
            # One allowed folder may lead to it through a link, and the other be where the link leads.
            with suppress(OSError, ValueError):
                return _read_below(folder, inside, most)
        return None

    def _places(self, path: str) -> Iterator[tuple[str, list[str]]]:
        """The allowed folders that a path leads into, with the names that lead on from there."""
        for folder in self.folders:
            real = os.path.realpath(folder)
            # What arrives in a watched folder is named by its real place.
            for way in dict.fromkeys((str(folder), real)):
                if path.startswith(f"{way.rstrip('/')}/"):
                    yield real, path[len(way.rstrip("/")) + 1 :].split("/")
        if self.workspaces is not None:
            for real, inside in Documents((self.workspaces.folder,))._places(path):
                if self.workspaces.may_read(inside[0]):
                    yield real, inside


NO_DOCUMENTS = Documents()
"""Nothing may be read."""


def documents_of(settings: Mapping[str, Any], *, watched: Iterable[str] = (), shared: Iterable[Path] = ()) -> Documents:
    """What an automation may read: what it watches, the site's inbox, what `allowed_files` names, and what all may.

    Relative folders count from the project's folder, as those of `triggers` do.

    Raises:
        PermanentError: a setting does not say what it should.
    """
    for _, message, remedy in wrong_settings(settings):
        raise PermanentError(f"{message[0].upper()}{message[1:]}.", remedy=remedy)
    inbox = settings.get("inbox")
    folders = [
        *watched,
        *([inbox] if isinstance(inbox, str) and inbox else ()),
        *settings.get("allowed_files", ()),
        *map(str, shared),
    ]
    absolute = dict.fromkeys(map(site_path, folders))
    return Documents(tuple(absolute), int(settings.get("max_file_mb", MAX_FILE_MB) * MEGABYTE))


def wrong_settings(settings: Mapping[str, object]) -> Iterator[tuple[str, str, str]]:
    """The settings about files that do not say what they should: name, what is wrong, and what to write."""
    named = settings.get("allowed_files", [])
    if not isinstance(named, list | tuple) or not all(isinstance(folder, str) and folder for folder in named):
        yield "allowed_files", "the setting `allowed_files` is no list of folders", "Write `allowed_files: [/srv/in]`."
    most = settings.get("max_file_mb", MAX_FILE_MB)
    if isinstance(most, bool) or not isinstance(most, int | float) or not 0 < most <= LARGEST_MB:
        remedy = f"Write a number of megabytes, at most {LARGEST_MB}."
        yield "max_file_mb", "the setting `max_file_mb` is no size", remedy


def _path(name: str) -> str:
    """The absolute path that a path or URI names, worked out without looking at the disk.

    Raises:
        ValueError: it names something else.
    """
    if not name:
        raise ValueError(name)
    # One file has one path: what still is a link, or leads out, is met on the way down.
    path = os.path.abspath(path_named(name))  # noqa: PTH100 - follows no links
    return path[1:] if path.startswith("//") else path


def _read_below(folder: str, names: list[str], most: int) -> bytes:
    """At most `most` bytes of a file.

    Every step starts from the folder opened before it and follows no link, so nothing that changes on the disk
    meanwhile leads elsewhere; what is opened is looked at, not its name.

    Raises:
        OSError: it is not there, a link, or not to be read.
        ValueError: it is hidden, or no file.
    """
    if any(name.startswith(".") for name in names):
        raise ValueError("hidden")
    with ExitStack() as stack:
        place = _opened(stack, folder, _FOLDER)
        for name in names[:-1]:
            place = _opened(stack, name, _FOLDER | os.O_NOFOLLOW, place)
        file = _opened(stack, names[-1], _FILE, place)
        if not stat.S_ISREG(os.fstat(file).st_mode):
            raise ValueError("no file")
        with os.fdopen(os.dup(file), "rb") as stream:
            return stream.read(most)


def _opened(stack: ExitStack, name: str, flags: int, place: int | None = None) -> int:
    opened = os.open(name, flags, dir_fd=place)
    stack.callback(os.close, opened)
    return opened


def _refused(name: str) -> DocumentRefused:
    return DocumentRefused(
        f"There is no document {name} that may be read.",
        remedy="Put it as a plain file into a folder that the automation watches, or name its folder in the setting"
        " `allowed_files`.",
    )
