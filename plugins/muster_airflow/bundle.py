"""A content-addressed Dag bundle: a snapshot of automations, agents, skills and settings is a version.

A run keeps the version it started with, because Airflow asks the bundle for that version again
whenever it starts one of the run's tasks. Muster's database keeps every version that a run may need;
the folders on disk are a cache, so Airflow may clean them up and any machine can perform the run.
A file that has become invalid keeps its last valid content in the new version and shows as an import
error of its own.
"""

from __future__ import annotations

import importlib
import logging
import shutil
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import structlog
from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion, BundleVersionLock
from airflow.utils.session import NEW_SESSION, provide_session
from sqlalchemy import select

from muster.errors import MusterError
from muster.events.bundles import BundleStore, VersionGone, version_of
from muster_airflow import versions
from muster_airflow.scheduled import schedules_of, write_since

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

log = logging.getLogger(__name__)

RENOTED = 60.0
"""Seconds after which the database is asked again since when schedules hold: another machine may have published."""

DAG_FILE = "automations.py"
DAG_SOURCE = '''"""Every published automation becomes one Airflow Dag."""

from muster_airflow import load_automations

load_automations(globals())
'''
INVALID_SOURCE = '''"""An Airflow import error in place of a Dag: {name} is not valid as it stands."""

from muster_airflow.invalid import InvalidAutomation

raise InvalidAutomation({message!r})
'''
UNPUBLISHED = "No edit is published until this is mended. All automations run as they did before."


class MusterBundle(BaseDagBundle):
    """Publishes the folder `<path>/include` as immutable, content-addressed versions.

    Args:
        path: the project folder, holding `include/`.
    """

    supports_versioning = True

    def __init__(self, *, path: str, **kwargs: Any) -> None:
        super().__init__(**kwargs)
        self._source = Path(path) / "include"
        self._current: str | None = None
        self._stored: str | None = None
        """The version that this process has seen kept in the database as the latest."""
        self._noted = -RENOTED
        """When the database was last asked since when schedules hold, on the monotonic clock."""

    @property
    def path(self) -> Path:
        """The `dags` folder of the pinned version, else of the current one."""
        version = self.version or self._current or self._published()
        return self.versions_dir / (version or "unpublished") / "dags"

    def initialize(self) -> None:
        """Publish the present content; a version that is pinned is put on this machine unless it is there, whole.

        Raises:
            CallbackNotNeeded: the Dag processor asks on behalf of a task's callback.
            VersionGone: neither this machine nor the database has the pinned version as it was published.
            TransientError: this machine does not have the version, and the database was lost.
        """
        if self.version is None:
            self.refresh()
        elif sys._getframe(1).f_code.co_name == "prepare_callback_bundle":
            # Every task that ends in the triggerer sends the Dag processor a callback, though no Dag of
            # ours has one. Airflow 3.3.2 parses the pinned file for it, and from then on takes the finish
            # time of that one parse for the file's last one, so that it parses the file without a pause.
            _leave_out_of_the_log()
            raise CallbackNotNeeded(f"Dags of the bundle {self.name} have no callbacks; nothing is lost.")
        else:
            # The lock first, for as long as this process lives: Airflow takes its own only after it has parsed the Dag,
            # and a cleanup in between would remove the files that are being read.
            self._hold()
            self._restore(self.version)
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """The version last published."""
        version = self.version or self._current or self._published()
        return BundleVersion(version=version) if version else None

    def refresh(self) -> None:
        """Publish a new version when a file below the source has changed.

        A version that the database cannot keep now is not published: the one before it stays, and the next refresh
        tries again.

        Raises:
            MusterError: the version cannot be kept, and there is none before it.
        """
        with self.lock(), versions.store() as find:
            previous = self._current or self._published()
            try:
                self._current = self._publish(previous, find)
            except MusterError as error:
                if previous is None or not versions.is_whole(self.versions_dir / previous):
                    raise
                log.error("The bundle %s stays at its version %s: %s", self.name, previous, error)
                self._current = previous
            # Last: until the version is whole on disk and in the database, other processes go on with the one before
            # it.
            versions.replace(self._pointer, self._current.encode())

    def _publish(self, previous: str | None, find: versions.Stores) -> str:
        if self._stored is None:
            latest = self._note_latest(find)
            # A new machine goes on from what another one published last.
            previous = previous or latest
        version = self._publisher.publish(previous)
        # The database before the pointer: any machine may be asked for the current version, and finds it there.
        if version != self._stored:
            self._keep(version, find())
        if version != self._stored or time.monotonic() - self._noted > RENOTED:
            self._note_schedules(version, find())
        self._stored = version
        return version

    def _keep(self, version: str, kept: BundleStore) -> None:
        """Keep a version in the database, and remove from it what no run needs any more."""
        if self._stored is None:
            self._keep_older(version, kept)
        kept.put(self.name, versions.read(self.versions_dir / version))
        try:
            needed = known_to_airflow()
        except Exception:
            # Only processes that serve Airflow may ask its database; one of them prunes soon enough.
            log.debug("Nothing is pruned, because Airflow's runs are unknown here.", exc_info=True)
            return
        for pruned in kept.prune(self.name, needed):
            log.info("No run needs the version %s of the bundle %s any more.", pruned, self.name)

    def _note_schedules(self, version: str, kept: BundleStore) -> None:
        """Leave for the Dag file since when each automation has its schedule."""
        # First: while the database is lost, nobody waits for it at each refresh.
        self._noted = time.monotonic()
        try:
            since = kept.schedule(self.name, version, schedules_of(self.versions_dir / version / "include"))
        except VersionGone:
            # The database was restored from a backup: the next refresh keeps the version there again.
            self._stored = None
            raise
        write_since(self.versions_dir / version, since)

    def _note_latest(self, find: versions.Stores) -> str | None:
        """Note the latest version before another is kept: a release that noted none may have published it."""
        latest = next(iter(find().versions(self.name)), None)
        if latest is not None:
            with suppress(VersionGone):
                folder = versions.restore(self.name, latest, find)
                find().schedule(self.name, latest, schedules_of(folder / "include"))
        return latest

    def _keep_older(self, current: str, kept: BundleStore) -> None:
        """Keep what lies on this machine from before the database kept versions."""
        known = {current, *kept.versions(self.name)}
        for folder in sorted(self.versions_dir.iterdir()):
            if folder.name not in known and versions.is_whole(folder):
                at = datetime.fromtimestamp(folder.stat().st_mtime, UTC)
                kept.put(self.name, versions.read(folder), published_at=at)

    def _restore(self, version: str) -> None:
        with versions.store() as find:
            versions.restore(self.name, version, find)

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self._source, self.versions_dir, self._restore)

    def _hold(self) -> None:
        self._lock = BundleVersionLock(self.name, self.version)
        # Airflow goes on without its lock as well where it cannot be had (`BundleVersionLock.__enter__`).
        with suppress(OSError):
            self._lock.acquire()

    @property
    def _pointer(self) -> Path:
        return self.base_dir / "current"

    def _published(self) -> str | None:
        return self._pointer.read_text() if self._pointer.exists() else None


class CallbackNotNeeded(MusterError):
    """Airflow passes over the callback, which would have done nothing, and goes on."""


def _leave_out_of_the_log() -> None:
    """Drop the traceback that the Dag processor would write, at level error, about `CallbackNotNeeded`."""
    processors = structlog.get_config()["processors"]
    if _in_structlog not in processors:
        # In place: loggers that are in use already hold this very list.
        processors.insert(0, _in_structlog)


def _in_structlog(logger: Any, method: str, event: Any) -> Any:
    if isinstance(sys.exc_info()[1], CallbackNotNeeded):
        raise structlog.DropEvent
    return event


@provide_session
def known_to_airflow(session: Session = NEW_SESSION) -> set[str]:
    """The versions of runs that Airflow may still begin, go on with, or do again: all that it knows."""
    from airflow.models.dag import DagModel
    from airflow.models.dag_version import DagVersion
    from airflow.models.dagbundle import DagBundleModel
    from airflow.models.dagrun import DagRun

    columns = (DagRun.bundle_version, DagModel.bundle_version, DagVersion.bundle_version, DagBundleModel.version)
    return {version for column in columns for version in session.scalars(select(column).distinct()) if version}


class Publisher:
    """Copies a folder into `<folder>/<hash of its content>`, with its invalid files held back.

    Args:
        restore: puts a version that is not whole back into the folder.
    """

    def __init__(self, source: Path, folder: Path, restore: Callable[[str], object] = lambda version: None) -> None:
        self._source = source
        self._plugins = source.parent / "plugins"
        self._folder = folder
        self._restore = restore
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._last: str | None = None

    def publish(self, previous: str | None) -> str:
        """The version of the present content, written to the folder unless it is there already.

        Args:
            previous: the version whose content stands in for files that are invalid now.
        """
        # What is held back because its operator is not installed is looked at again once something was installed.
        # Looked at before anything is read: what changes meanwhile differs at the next look, and is published then.
        seen = (*_fingerprints(self._source), *_importable(self._plugins))
        if seen == self._seen and self._last is not None and versions.is_whole(self._folder / self._last):
            return self._last
        # Python remembers what import folders held, or that one was missing: an operator installed since would stay
        # unseen.
        importlib.invalidate_caches()
        self._folder.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._folder))
        try:
            self._fill(draft, self._include_of(previous))
            files = versions.read(draft)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        version = version_of(files)
        versions.write(self._folder / version, files)
        self._seen, self._last = seen, version
        return version

    def _include_of(self, version: str | None) -> Path | None:
        if version is None:
            return None
        with suppress(VersionGone):
            self._restore(version)
        folder = self._folder / version
        return folder / "include" if versions.is_whole(folder) else None

    def _fill(self, draft: Path, previous: Path | None) -> None:
        from muster.language import load_folder

        include, dags = draft / "include", draft / "dags"
        unread = _copy(self._source, include)
        dags.mkdir()
        (dags / DAG_FILE).write_text(DAG_SOURCE)
        problems = _problems_by_file(load_folder(self._source), self._source)
        for path, message in {**unread, **problems}.items():
            self._hold_back(path, message, include, previous, dags)
        if previous is None:
            self._leave_out(include, dags)
        elif (wrong := self._problems(include)) and not wrong <= self._problems(previous):
            # What is invalid now needs something beside it, such as an agent that is gone: only the last version as a
            # whole is known to fit together. What today's rules refuse in that version was valid then.
            shutil.rmtree(include)
            shutil.copytree(previous, include, ignore=shutil.ignore_patterns("__pycache__"))
            said = "\n\n".join(map(str, sorted(wrong - self._problems(previous))))
            _say_invalid(dags, Path("include"), f"{UNPUBLISHED}\n\n{said}")

    def _problems(self, include: Path) -> set[Any]:
        """Everything that is wrong by today's rules with a folder that was published, or is about to be."""
        from muster.language import load_folder

        return set(load_folder(include, published=True, plugins=self._plugins).problems)

    def _leave_out(self, include: Path, dags: Path) -> None:
        """Leave out what is not valid without the files that were left out."""
        from muster.language import load_folder

        before = -1
        while (left := len(list(_files(include)))) != before:
            before = left
            for path, message in _problems_by_file(load_folder(include, plugins=self._plugins), include).items():
                self._hold_back(path, message, include, None, dags)

    def _hold_back(self, path: Path, message: str, include: Path, previous: Path | None, dags: Path) -> None:
        """Put the last valid content in the place of an invalid file, and an import error beside it."""
        last_valid = previous / path if previous else None
        if last_valid is not None and last_valid.is_file():
            (include / path).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(last_valid, include / path)
        else:
            (include / path).unlink(missing_ok=True)
        _say_invalid(dags, path, message)


def _say_invalid(dags: Path, path: Path, message: str) -> None:
    """Leave an import error."""
    name = "__".join(path.with_suffix("").parts)
    (dags / f"invalid__{name}.py").write_text(INVALID_SOURCE.format(name=path, message=message))


def _copy(source: Path, include: Path) -> dict[Path, str]:
    """Copy the files, and say of each that cannot be read why: a link that leads nowhere, or it is gone by now."""
    include.mkdir(exist_ok=True)
    unread: dict[Path, str] = {}
    for file in _files(source):
        path = file.relative_to(source)
        try:
            content = file.read_bytes()
        except OSError as error:
            unread[path] = f"{path}: the file cannot be read: {error.strerror}"
            continue
        (include / path).parent.mkdir(parents=True, exist_ok=True)
        (include / path).write_bytes(content)
    return unread


def _problems_by_file(catalogue: Any, source: Path) -> dict[Path, str]:
    """Rendered problems by the file, relative to the source, that they stand in."""
    by_file: dict[Path, list[str]] = {}
    for problem in catalogue.problems:
        file = Path(problem.file)
        path = file.relative_to(source.name) if file.is_relative_to(source.name) else file
        by_file.setdefault(path, []).append(str(problem))
    return {path: "\n\n".join(lines) for path, lines in sorted(by_file.items())}


def _files(source: Path) -> Iterator[Path]:
    from muster.language.folder import files_of

    return files_of(source)


def _fingerprints(source: Path) -> Iterator[tuple[str, int, int]]:
    for file in _files(source):
        try:
            status = file.stat()
        except OSError:
            yield str(file), 0, 0
        else:
            # Unlike the time of the last writing, it changes too when a file that could not be read can be.
            yield str(file), status.st_ctime_ns, status.st_size


def _importable(plugins: Path) -> Iterator[tuple[str, int, int]]:
    """What operators are imported from, as far as it changes when one is installed or edited."""
    for folder in dict.fromkeys(filter(None, sys.path)):
        with suppress(OSError):
            yield folder, Path(folder).stat().st_mtime_ns, 0
    for file in sorted(plugins.rglob("*.py")):
        with suppress(OSError):
            yield str(file), file.stat().st_mtime_ns, file.stat().st_size
