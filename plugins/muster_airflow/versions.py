"""Versions of a bundle as folders on this machine: a cache, filled from Muster's database."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from airflow.dag_processing.bundles.base import (
    BundleVersionLock,
    get_bundle_storage_root_path,
    get_bundle_tracking_file,
    get_bundle_versions_base_folder,
)

from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events.bundles import BundleStore, Files, ensure_size, is_version, version_of
from muster_airflow.connections import muster_dsn

Stores = Callable[[], BundleStore]
"""Finds the database, which is asked only for what is not on this machine."""
Marks = tuple[tuple[Path, int, int, int, int], ...]
"""Of each file: its path, inode, size in bytes, and the times of its last writing and its last change."""
LONGEST_WAIT = 10.0
"""Seconds that the Dag processor waits for a connection to Muster's database."""
_ATTEMPTS = 5


@contextmanager
def store() -> Iterator[Stores]:
    """Finds Muster's database when first asked; closes it at the end, before a fork could share its connection."""
    opened: list[Database] = []

    def find() -> BundleStore:
        if not opened:
            opened.append(Database(muster_dsn(), max_size=1, timeout=LONGEST_WAIT))
        return BundleStore(opened[0])

    try:
        yield find
    finally:
        for database in opened:
            database.close()


def restore(bundle: str, version: str, stores: Stores) -> Path:
    """The folder of a version, whole: written from the database when this machine has none, or half of one.

    Raises:
        VersionGone: neither this machine nor the database has the version as it was published.
        TransientError: this machine does not have it, and the database was lost.
    """
    folder = get_bundle_versions_base_folder(bundle) / version
    if not is_whole(folder):
        try:
            write(folder, stores().get(version)[1])
        except MusterError:
            if not folder.is_dir():
                # Airflow's cleanup breaks off, each time, at a version that it tracks and does not find.
                get_bundle_tracking_file(bundle, version).unlink(missing_ok=True)
            raise
    return folder


def pinned_folder(version: str, stores: Stores) -> Path | None:
    """The folder of a version of some bundle; None when it is of a kind of bundle that is not ours, and not here.

    Raises:
        VersionGone: it is ours, and neither this machine nor the database has it as it was published.
        TransientError: this machine does not have it, and the database was lost.
    """
    # A trigger is not told which bundle its task belongs to; a version is the hash of its content.
    folders = [path for path in sorted(get_bundle_storage_root_path().glob("*/versions/*")) if path.name == version]
    if not is_version(version):
        return next((folder for folder in folders if (folder / "include").is_dir()), None)
    for folder in folders:
        with in_use(folder.parent.parent.name, version):
            # Locked before the look: Airflow's cleanup could remove the folder between the look and its first use.
            if _was_whole(folder):
                return folder
    bundle, files = stores().get(version)
    with in_use(bundle, version):
        folder = get_bundle_versions_base_folder(bundle) / version
        write(folder, files)
    return folder


_whole: dict[Path, Marks] = {}


def _was_whole(folder: Path) -> bool:
    """`is_whole`, read again only when a file was changed, added or removed: a thousand triggers that begin need not
    all read it. The looks at 59 files take 0.6 ms, reading them 1.9 ms, and a version may have 32 MiB.
    """
    try:
        marks = _marks(folder)
    except OSError:
        return False
    # The marks were taken before the files are read: a file that changes in between has other marks at the next look,
    # so a version that was changed is never remembered as whole.
    if _whole.get(folder) != marks and is_whole(folder):
        _whole[folder] = marks
    return _whole.get(folder) == marks


def _marks(folder: Path) -> Marks:
    """The marks of all files, by which a changed file shows: nobody sets the time of a change, `ctime`, by hand."""
    looks = [(path, path.stat()) for path in _below(folder)]
    return tuple((path, look.st_ino, look.st_size, look.st_mtime_ns, look.st_ctime_ns) for path, look in looks)


def is_whole(folder: Path) -> bool:
    """True when a folder holds exactly the files that its name was made of."""
    try:
        return folder.is_dir() and version_of(read(folder)) == folder.name
    except (OSError, PermanentError):
        # A cleanup is removing the folder at this moment, or somebody has put something too large into it.
        return False


def read(folder: Path) -> dict[str, bytes]:
    """A version's files, without what Python keeps beside them.

    Raises:
        PermanentError: they are too large.
    """
    paths = [path for path in _below(folder) if path.is_file()]
    ensure_size(sum(path.stat().st_size for path in paths))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in paths}


def write(folder: Path, files: Files) -> None:
    """Make a version's folder. A reader sees all of it or none, and several processes may write it at once."""
    folder.parent.mkdir(parents=True, exist_ok=True)
    draft = Path(tempfile.mkdtemp(prefix="draft-", dir=folder.parent))
    try:
        whole = draft / "whole"
        for path, content in files.items():
            target = whole / path
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(content)
        whole.chmod(0o755)
        _put(whole, folder, draft)
    finally:
        shutil.rmtree(draft, ignore_errors=True)


def _put(whole: Path, folder: Path, draft: Path) -> None:
    for attempt in range(_ATTEMPTS):
        if is_whole(folder):
            return
        try:
            whole.rename(folder)
            return
        except OSError:
            # Half a version lies there, or another process was faster. A rename cannot replace a folder that is not
            # empty, so what lies there is moved away, unless it is whole by now.
            if attempt == _ATTEMPTS - 1:
                raise
            with suppress(FileNotFoundError):
                folder.rename(draft / f"half-{attempt}")


@contextmanager
def in_use(bundle: str, version: str) -> Iterator[None]:
    """Keep Airflow's cleanup away from a version, in the body and for hours after it: it counts from the last use."""
    lock = BundleVersionLock(bundle, version)
    with suppress(OSError):
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _below(folder: Path) -> Iterator[Path]:
    for path in sorted(folder.iterdir()):
        if not path.is_dir():
            yield path
        elif not path.name.startswith(".") and path.name != "__pycache__":
            yield from _below(path)


def replace(path: Path, content: bytes) -> None:
    """Write atomically, so that a reader in another process never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
