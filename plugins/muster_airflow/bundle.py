"""A content-addressed Dag bundle: a snapshot of automations, agents, skills and settings is a version.

A run keeps the version it started with, because Airflow asks the bundle for that version again
whenever it starts one of the run's tasks. A file that has become invalid keeps its last valid
content in the new version and shows as an import error of its own.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import sys
import tempfile
from collections.abc import Iterator
from functools import cached_property
from pathlib import Path
from typing import Any

from airflow.dag_processing.bundles.base import BaseDagBundle, BundleVersion

from muster.errors import MusterError

DAG_FILE = "automations.py"
DAG_SOURCE = '''"""Every published automation becomes one Airflow Dag."""

from muster_airflow import load_automations

load_automations(globals())
'''
INVALID_SOURCE = '''"""An Airflow import error in place of a Dag: {name} is not valid as it stands."""

from muster_airflow.invalid import InvalidAutomation

raise InvalidAutomation({message!r})
'''


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

    @property
    def path(self) -> Path:
        """The `dags` folder of the pinned version, else of the current one."""
        version = self.version or self._current or self._published()
        return self.versions_dir / (version or "unpublished") / "dags"

    def initialize(self) -> None:
        """Publish the present content, unless a version is pinned.

        Raises:
            CallbackNotNeeded: the Dag processor asks on behalf of a task's callback.
        """
        if self.version is None:
            self.refresh()
        elif sys._getframe(1).f_code.co_name == "prepare_callback_bundle":
            # Every task that ends in the triggerer sends the Dag processor a callback, though no Dag of
            # ours has one. Airflow 3.3.2 parses the pinned file for it, and from then on takes the finish
            # time of that one parse for the file's last one, so that it parses the file without a pause.
            raise CallbackNotNeeded(f"Dags of the bundle {self.name} have no callbacks; nothing is lost.")
        super().initialize()

    def get_current_version(self) -> BundleVersion | None:
        """The version last published."""
        version = self.version or self._current or self._published()
        return BundleVersion(version=version) if version else None

    def refresh(self) -> None:
        """Publish a new version when a file below the source has changed."""
        with self.lock():
            self._current = self._publisher.publish(self._published())
            _replace(self._pointer, self._current.encode())

    @cached_property
    def _publisher(self) -> Publisher:
        return Publisher(self._source, self.versions_dir)

    @property
    def _pointer(self) -> Path:
        return self.base_dir / "current"

    def _published(self) -> str | None:
        return self._pointer.read_text() if self._pointer.exists() else None


class CallbackNotNeeded(MusterError):
    """Airflow passes over the callback, which would have done nothing, and goes on."""


class Publisher:
    """Copies a folder into `<store>/<hash of its content>`, with its invalid files held back."""

    def __init__(self, source: Path, store: Path) -> None:
        self._source = source
        self._store = store
        self._seen: tuple[tuple[str, int, int], ...] | None = None
        self._last: str | None = None

    def publish(self, previous: str | None) -> str:
        """The version of the present content, written to the store unless it is there already.

        Args:
            previous: the version whose content stands in for files that are invalid now.
        """
        seen = tuple(_fingerprints(self._source))
        if seen == self._seen and self._last is not None and (self._store / self._last).is_dir():
            return self._last
        self._store.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix="draft-", dir=self._store))
        try:
            self._fill(draft, self._store / previous / "include" if previous else None)
            version = _content_hash(draft)
            if not (self._store / version).exists():
                draft.chmod(0o755)
                draft.rename(self._store / version)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        self._seen, self._last = seen, version
        return version

    def _fill(self, draft: Path, previous: Path | None) -> None:
        from muster.language import load_folder

        include, dags = draft / "include", draft / "dags"
        _copy(self._source, include)
        dags.mkdir()
        (dags / DAG_FILE).write_text(DAG_SOURCE)
        for path, message in _problems_by_file(load_folder(self._source), self._source).items():
            self._hold_back(path, message, include, previous, dags)
        if previous is not None and load_folder(include).problems:
            # What is invalid now has company it needs, such as an agent that is gone: only the whole
            # of the last version is known to fit together.
            shutil.rmtree(include)
            _copy(previous, include)

    def _hold_back(self, path: Path, message: str, include: Path, previous: Path | None, dags: Path) -> None:
        """Put the last valid content in the place of an invalid file, and an import error beside it."""
        last_valid = previous / path if previous else None
        if last_valid is not None and last_valid.is_file():
            shutil.copyfile(last_valid, include / path)
        else:
            (include / path).unlink(missing_ok=True)
        name = "__".join(path.with_suffix("").parts)
        (dags / f"invalid__{name}.py").write_text(INVALID_SOURCE.format(name=path, message=message))


def _copy(source: Path, include: Path) -> None:
    include.mkdir(exist_ok=True)
    for file in _files(source):
        target = include / file.relative_to(source)
        target.parent.mkdir(parents=True, exist_ok=True)
        shutil.copyfile(file, target)


def _problems_by_file(catalogue: Any, source: Path) -> dict[Path, str]:
    """Rendered problems by the file, relative to the source, that they stand in."""
    by_file: dict[Path, list[str]] = {}
    for problem in catalogue.problems:
        file = Path(problem.file)
        path = file.relative_to(source.name) if file.is_relative_to(source.name) else file
        by_file.setdefault(path, []).append(str(problem))
    return {path: "\n\n".join(lines) for path, lines in sorted(by_file.items())}


def _files(source: Path) -> Iterator[Path]:
    """What a version is made of: YAML anywhere below the source, and the site's own skills."""
    folders = ("automations", "agents", "skills")
    for folder in folders:
        for root, names, files in os.walk(source / folder):
            names[:] = sorted(name for name in names if not name.startswith((".", "__")))
            for name in sorted(files):
                if name.endswith((".yaml", ".yml", ".py")):
                    yield Path(root) / name
    yield from sorted(source.glob("settings*.yaml"))


def _fingerprints(source: Path) -> Iterator[tuple[str, int, int]]:
    for file in _files(source):
        status = file.stat()
        yield str(file), status.st_mtime_ns, status.st_size


def _content_hash(folder: Path) -> str:
    manifest = {
        str(file.relative_to(folder)): hashlib.sha256(file.read_bytes()).hexdigest()
        for file in sorted(folder.rglob("*"))
        if file.is_file()
    }
    return hashlib.sha256(json.dumps(manifest, sort_keys=True).encode()).hexdigest()[:16]


def _replace(path: Path, content: bytes) -> None:
    """Write atomically, so that a reader in another process never sees half a file."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.NamedTemporaryFile(dir=path.parent, delete=False) as file:
        file.write(content)
    Path(file.name).replace(path)
