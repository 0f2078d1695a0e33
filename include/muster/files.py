"""Files for people and other programs: there whole, or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from glob import escape
from pathlib import Path
from secrets import token_hex
from urllib.parse import unquote, urlsplit


def site_path(path: str | os.PathLike[str]) -> Path:
    """A path that settings or an automation name, absolute: a relative one counts from the project's folder, wherever
    the process was started. That is `MUSTER_PROJECT`, else what holds `MUSTER_INCLUDE`, else the nearest project at
    or above the working directory, else that directory. A `file://` URI names its path.
    """
    named, include = os.environ.get("MUSTER_PROJECT"), os.environ.get("MUSTER_INCLUDE")
    base = Path(named) if named else Path(include).parent if include else nearest_project(Path.cwd()) or Path.cwd()
    with suppress(ValueError):
        path = path_named(os.fspath(path))
    return Path(os.path.abspath(base / path))  # noqa: PTH100 - follows no links


def files_below(folder: str | os.PathLike[str], endings: tuple[str, ...]) -> Iterator[str]:
    """The files below a folder whose names end so, in no order; those that begin with `.` are an editor's own.

    A link that leads nowhere is one of them, for whoever reads it to say so; what is there and is no regular file is
    not, because reading a pipe never ends. Links to folders are not followed.
    """
    try:
        with os.scandir(folder) as found:
            entries = [entry for entry in found if not entry.name.startswith(".")]
    except OSError:
        return
    for entry in entries:
        if entry.is_dir(follow_symlinks=False):
            yield from files_below(entry.path, endings)
        elif entry.name.endswith(endings) and (entry.is_file() or not os.path.exists(entry.path)):  # noqa: PTH110
            yield entry.path


def path_named(name: str) -> str:
    """The path that a path or a `file://` URI names, as it is.

    Raises:
        UnusablePath: it names none, in words that do not repeat it.
        ValueError: it is a URI of something else, or on another machine.
    """
    path = name
    if "://" in name or name[:5].lower() == "file:":
        parts = urlsplit(name)
        if parts.scheme != "file" or parts.netloc not in ("", "localhost"):
            raise ValueError(name)
        if parts.query or parts.fragment:
            raise UnusablePath("a `file://` URI has no `#` and no `?`", "Write `%23` for `#` and `%3F` for `?`.")
        path = unquote(parts.path, errors="surrogateescape")
        if not path.startswith("/"):
            raise UnusablePath("a `file:` URI names a whole path", "Write its path, or `file:///srv/letters`.")
    if "\0" in path:
        raise UnusablePath("a path holds no NUL character", "Write the path without it.")
    return path


class UnusablePath(ValueError):
    """What is written as a path and names none: what is wrong with it, and what to do."""

    def __init__(self, message: str, remedy: str) -> None:
        super().__init__(message)
        self.message, self.remedy = message, remedy


def nearest_project(here: Path) -> Path | None:
    """The folder at or above this one that holds `include/automations`."""
    return next((folder for folder in (here, *here.parents) if (folder / "include" / "automations").is_dir()), None)


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8, and the folders it is in; whoever dies meanwhile leaves the old one, or none.

    Raises:
        OSError: there is no room for it, or it may not be written.
    """
    with draft_of(path, text) as draft:
        draft.replace(path)
        sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Have on disk which files a folder holds: a power failure may else take back a new name, or a removal."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


@contextmanager
def draft_of(path: Path, text: str) -> Iterator[Path]:
    """A file beside `path`, whole and hidden, to be renamed to it: what was not renamed is gone afterwards.

    Raises:
        OSError: there is no room for it, or it may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two that write the same file at once do not write into each other's.
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        yield draft
    finally:
        draft.unlink(missing_ok=True)


def remove_drafts(path: Path) -> None:
    """Take away every draft of the file, whoever made it: none of them can be renamed to it any more."""
    for draft in path.parent.glob(f".{escape(path.name)}.*.part"):
        draft.unlink(missing_ok=True)
