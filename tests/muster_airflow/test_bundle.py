"""Promises of versions: content-addressed, immutable, and never worse than the last valid one."""

from __future__ import annotations

import json
import os
import shutil
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psycopg
import pytest
import structlog
from airflow.dag_processing.bundles import base
from airflow.dag_processing.dagbag import DagBag
from airflow.models.dagbundle import DagBundleModel
from airflow.utils.db import initdb
from airflow.utils.session import create_session

from muster.database import Database
from muster.errors import TransientError
from muster.events.bundles import BundleStore, VersionGone, version_of
from muster.language import load_folder
from muster.local.airflow import connection_json
from muster.skills.index import skill_index
from muster_airflow import bundle, versions
from muster_airflow.bundle import DAG_FILE, DAG_SOURCE, MusterBundle, Publisher
from muster_airflow.services import pinned_skills

GOOD = "automation: {name}\nsteps:\n  - {{id: tell, notify: [{{slack: '#ops', text: '{text}'}}]}}\n"


@pytest.fixture
def source(tmp_path: Path) -> Path:
    folder = tmp_path / "project" / "include"
    (folder / "automations").mkdir(parents=True)
    write(folder, "one", "first")
    write(folder, "two", "first")
    return folder


def write(source: Path, name: str, text: str) -> None:
    (source / "automations" / f"{name}.yaml").write_text(GOOD.format(name=name, text=text))


def test_the_same_content_is_the_same_version_wherever_it_lies(source: Path, tmp_path: Path) -> None:
    first = Publisher(source, tmp_path / "a").publish(None)
    assert Publisher(source, tmp_path / "b").publish(None) == first
    assert (tmp_path / "a" / first / "include" / "automations" / "one.yaml").is_file()


def test_an_edit_makes_a_new_version_and_leaves_the_old_one(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    write(source, "one", "second")
    second = publisher.publish(first)
    assert first != second
    old = tmp_path / "store" / first / "include" / "automations" / "one.yaml"
    assert "first" in old.read_text()


def test_nothing_is_copied_while_nothing_changes(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    entries = sorted((tmp_path / "store").iterdir())
    assert publisher.publish(first) == first
    assert sorted((tmp_path / "store").iterdir()) == entries


def test_an_invalid_file_keeps_its_last_valid_content_and_hides_no_other(source: Path, tmp_path: Path) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    (source / "automations" / "one.yaml").write_text("automation: one\nsteps: 7\n")
    write(source, "two", "second")
    version = tmp_path / "store" / publisher.publish(first)
    assert "first" in (version / "include" / "automations" / "one.yaml").read_text()
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()
    (error,) = version.glob("dags/invalid__*.py")
    assert "one.yaml:2" in error.read_text()


def test_a_setting_that_is_not_there_below_another_stops_no_other_automation(source: Path, tmp_path: Path) -> None:
    (source / "settings.yaml").write_text("finance: {inbox: in}\n")
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    deadline = "deadlines: [{within: 1h, notify: [{slack: '#x', text: '{{ settings.finance.inbx }}'}]}]\n"
    (source / "automations" / "one.yaml").write_text(GOOD.format(name="one", text="second") + deadline)
    write(source, "two", "second")
    edited = tmp_path / "store" / publisher.publish(first)
    new = tmp_path / "new" / Publisher(source, tmp_path / "new").publish(None)
    for folder in (edited, new):
        assert "second" in (folder / "include" / "automations" / "two.yaml").read_text()
        (error,) = folder.glob("dags/invalid__*one.py")
        assert "one.yaml:4" in error.read_text()


def test_a_file_that_was_never_valid_is_left_out_and_named(source: Path, tmp_path: Path) -> None:
    (source / "automations" / "three.yaml").write_text("automation: three\n")
    version = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None)
    assert not (version / "include" / "automations" / "three.yaml").exists()
    assert [path.name for path in version.glob("dags/invalid__*.py")] == ["invalid__automations__three.py"]


def test_what_is_not_valid_without_a_file_that_was_left_out_is_left_out_too(source: Path, tmp_path: Path) -> None:
    (source / "settings.yaml").write_text("channel: '#ops'\nNot a name: 1\n")
    write(source, "two", "{{ settings.channel }}")
    version = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None)
    assert [path.name for path in (version / "include" / "automations").iterdir()] == ["one.yaml"]
    names = sorted(path.name for path in version.glob("dags/invalid__*.py"))
    assert names == ["invalid__automations__two.py", "invalid__settings.py"]


@pytest.mark.parametrize("where", ["a folder of the path", "a folder that was not there", "the project's plugins"])
def test_an_operator_that_is_installed_later_is_found_without_an_edit(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    site = source.parent / "plugins" if where == "the project's plugins" else tmp_path / "site"
    if where == "a folder of the path":
        site.mkdir()
    monkeypatch.syspath_prepend(site)
    (source / "settings.yaml").write_text("allowed_operators: [later_provider.*]\n")
    automation = "automation: three\nsteps:\n  - {id: go, operator: later_provider.operators.Thing}\n"
    (source / "automations" / "three.yaml").write_text(automation)
    publisher = Publisher(source, tmp_path / "store")
    without = publisher.publish(None)
    assert publisher.publish(without) == without
    assert list((tmp_path / "store" / without).glob("dags/invalid__*three.py"))
    (site / "later_provider").mkdir(parents=True)
    (site / "later_provider" / "__init__.py").touch()
    (site / "later_provider" / "operators.py").write_text("class Thing: ...\n")
    whole = tmp_path / "store" / publisher.publish(without)
    assert (whole / "include" / "automations" / "three.yaml").read_text() == automation
    assert not list(whole.glob("dags/invalid__*.py"))


def test_an_operator_of_the_projects_own_plugins_is_known_wherever_it_is_published_from(
    source: Path, tmp_path: Path
) -> None:
    """Also by a process of which Airflow has not put them on Python's path, and beside a file that is held back."""
    plugins = source.parent / "plugins" / "own_operators"
    plugins.mkdir(parents=True)
    (plugins / "__init__.py").write_text("class Thing: ...\n")
    (source / "settings.yaml").write_text("allowed_operators: [own_operators.*]\n")
    automation = "automation: three\nsteps:\n  - {id: go, operator: own_operators.Thing}\n"
    (source / "automations" / "three.yaml").write_text(automation)
    (source / "automations" / "broken.yaml").write_text("automation: broken\nsteps: 5\n")
    store = tmp_path / "store"
    first = Publisher(source, store).publish(None)
    (source / "automations" / "one.yaml").write_text("automation: one\nsteps: 6\n")
    second = Publisher(source, store).publish(first)
    for version in (first, second):
        assert (store / version / "include" / "automations" / "three.yaml").read_text() == automation
        held = {
            path.name.removeprefix("invalid__").split("__")[-1]
            for path in (store / version / "dags").glob("invalid__*")
        }
        assert not any("three" in name for name in held), held


def test_what_no_run_reads_is_not_published(source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (source / "settings.yaml").write_text("limit: 1\n")
    (source / "settings.prod.yaml").write_text("limit: 2\n")
    (source / "settings.test.yaml").write_text("smtp_password: hunter2secret\n")
    (source / "automations" / "one.test.yaml").write_text("cases: [{name: x, inputs: {password: hunter2secret}}]\n")
    monkeypatch.setenv("MUSTER_ENVIRONMENT", "prod")
    prod = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None)
    assert sorted(path.name for path in (prod / "include").rglob("*.yaml")) == [
        "one.yaml",
        "settings.prod.yaml",
        "settings.yaml",
        "two.yaml",
    ]
    monkeypatch.delenv("MUSTER_ENVIRONMENT")
    none = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(prod.name)
    assert none != prod, "other settings make another version"
    assert not any(b"hunter2secret" in content for content in versions.read(none).values())
    assert not (none / "include" / "settings.prod.yaml").exists()


@pytest.mark.parametrize(
    "path",
    [
        "automations/.#one.yaml", "automations/gone.yaml", "automations/new/gone.yaml", "automations/one.yaml",
        "skills/.#office.py", "skills/gone.py", "agents/.#ops.yaml", "agents/gone.yaml", "automations/_defaults.yaml",
    ],
)  # fmt: skip
def test_a_link_that_leads_nowhere_stops_no_other_automation(source: Path, tmp_path: Path, path: str) -> None:
    """Emacs makes one beside each file that is being edited."""
    publisher, link = Publisher(source, tmp_path / "store"), source / path
    first = publisher.publish(None)
    link.parent.mkdir(parents=True, exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to("me@host.123:456")
    write(source, "two", "second")
    version = tmp_path / "store" / publisher.publish(first)
    assert version.name != first
    assert sorted(load_folder(version / "include").definitions) == ["one", "two"]
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()
    held = [file.read_text() for file in version.glob("dags/invalid__*.py")]
    if "/." in path:
        assert (held, load_folder(source).problems) == ([], [])
    else:
        assert len(held) == 1
        assert "cannot be read" in held[0]
    link.unlink()
    write(source, "one", "third")
    last = tmp_path / "store" / publisher.publish(version.name)
    assert "third" in (last / "include" / "automations" / "one.yaml").read_text()
    assert not list(last.glob("dags/invalid__*.py"))


def test_a_pipe_among_the_automations_is_passed_over(source: Path, tmp_path: Path) -> None:
    """Reading one waits for ever."""
    os.mkfifo(source / "automations" / "pipe.yaml")
    assert load_folder(source).problems == []
    version = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None)
    assert sorted(load_folder(version / "include").definitions) == ["one", "two"]


@pytest.mark.parametrize("base", ["../shared/base.yaml", ".base.yaml"])
def test_one_that_extends_what_is_not_published_stops_no_other_automation(
    source: Path, tmp_path: Path, base: str
) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    (source / "shared").mkdir()
    (source / "automations" / base).write_text("steps: [{id: tell, notify: [{slack: '#x', text: one}]}]\n")
    (source / "automations" / "a.yaml").write_text(f"automation: a\nextends: {base}\n")
    write(source, "two", "second")
    version = tmp_path / "store" / publisher.publish(first)
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()
    (error,) = version.glob("dags/invalid__*.py")
    assert "a.yaml:2" in error.read_text()


def test_a_file_that_vanishes_while_it_is_published_is_held_back(
    source: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    write(source, "two", "second")
    listed, looks = bundle._files, list[Path]()

    def vanishing(folder: Path) -> Iterator[Path]:
        looks.append(folder)
        for file in listed(folder):
            if looks == [source, source] and file.name == "one.yaml":
                file.unlink()  # after the first look, for what has changed
            yield file

    monkeypatch.setattr(bundle, "_files", vanishing)
    version = tmp_path / "store" / publisher.publish(first)
    assert "first" in (version / "include" / "automations" / "one.yaml").read_text()
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()


@pytest.mark.parametrize("folder", ["__new", "_new", "new/__further", ".new"])
def test_what_the_language_looks_at_is_published_and_nothing_else(source: Path, tmp_path: Path, folder: str) -> None:
    (source / "automations" / folder).mkdir(parents=True)
    write(source, f"{folder}/three", "first")
    text = (source / "automations" / folder / "three.yaml").read_text()
    (source / "automations" / folder / "three.yaml").write_text(text.replace(f"{folder}/three", "three"))
    (source / "skills" / folder).mkdir(parents=True)
    skill = "from muster.skills import skill\n\n\n@skill('office.act')\ndef act() -> None:\n    pass\n"
    (source / "skills" / folder / "office.py").write_text(skill)
    found = load_folder(source)
    assert not found.problems
    assert ("three" in found.definitions) is (folder != ".new")
    include = tmp_path / "store" / Publisher(source, tmp_path / "store").publish(None) / "include"
    assert sorted(load_folder(include).definitions) == sorted(found.definitions)
    # No run looks for a skill there; the index has looked all the same, and says so.
    seen = [skill_index(each / "skills").unreadable("office.act") is not None for each in (source, include)]
    assert seen == [folder != ".new"] * 2


def test_a_broken_agents_file_does_not_take_its_automations_down(source: Path, tmp_path: Path) -> None:
    (source / "agents").mkdir()
    agents = source / "agents" / "ops.yaml"
    agents.write_text("department: ops\nagents:\n  - {id: clerk, role: A clerk.}\n")
    (source / "automations" / "asks.yaml").write_text(
        "automation: asks\nsteps:\n  - {id: ask, agent: clerk, ask: 'What now?'}\n"
    )
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    agents.write_text("department: ops\nagents:\n  - {id: other, role: Another.}\n")
    version = tmp_path / "store" / publisher.publish(first)
    assert "clerk" in (version / "include" / "agents" / "ops.yaml").read_text()
    assert list(version.glob("dags/invalid__*.py"))


def test_where_the_last_version_is_put_back_as_a_whole_that_is_said(source: Path, tmp_path: Path) -> None:
    (source / "agents").mkdir()
    agents = source / "agents" / "ops.yaml"
    agents.write_text("department: ops\nagents:\n  - {id: clerk, role: A clerk.}\n")
    ask = "automation: asks\nsteps:\n  - {id: ask, agent: clerk, ask: 'What now?'}\n"
    (source / "automations" / "asks.yaml").write_text(ask)
    publisher = Publisher(source, tmp_path / "store")
    first = publisher.publish(None)
    agents.write_text("department: ops\nagents:\n  - {id: other, role: Another.}\n")
    write(source, "two", "second")
    version = tmp_path / "store" / publisher.publish(first)
    assert "first" in (version / "include" / "automations" / "two.yaml").read_text()
    said = (version / "dags" / "invalid__include.py").read_text()
    assert "No edit is published" in said
    assert "there is no agent `clerk`" in said


@pytest.fixture
def machine(tmp_path: Path, dsn: str, source: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    """A machine of its own with Muster's database, and the project that `source` belongs to."""
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    return Machine(tmp_path, source, monkeypatch)


class Machine:
    """Several machines one after the other: each has a disk of its own."""

    def __init__(self, folder: Path, source: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder, self._source, self._monkeypatch = folder, source, monkeypatch
        self.use("first")

    def use(self, name: str) -> None:
        self.disk = self._folder / "machines" / name
        self._monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_STORAGE_PATH", str(self.disk))
        self._monkeypatch.setattr(base, "STALE_BUNDLE_TRACKING_FOLDER", self.disk / "_tracking")

    def bundle(self, version: str | None = None) -> MusterBundle:
        """What Airflow makes of the bundle in a new process."""
        bundle = MusterBundle(path=str(self._source.parent), name="muster", version=version, refresh_interval=5)
        bundle.initialize()
        return bundle

    def publish(self) -> str:
        current = self.bundle().get_current_version()
        assert current is not None
        return current.version

    def said(self, version: str) -> str:
        """What automation `one` says in a version, as a task process finds it."""
        path = self.bundle(version).path
        return (path.parent / "include" / "automations" / "one.yaml").read_text()

    def versions(self) -> set[str]:
        return {path.name for path in (self.disk / "muster" / "versions").glob("*")}

    def published_by_rules_of_that_day(self, source: Path) -> str:
        """Publish a folder without looking at what it says, as whoever had other rules did."""
        files = {f"include/{path.relative_to(source)}": path.read_bytes() for path in source.rglob("*.*")}
        files |= {f"dags/{DAG_FILE}": DAG_SOURCE.encode()}
        version = version_of(files)
        versions.write(self.disk / "muster" / "versions" / version, files)
        (self.disk / "muster" / "current").write_text(version)
        return version

    def tasks(self, version: str) -> dict[str, set[str]]:
        """The tasks of each automation in a version, as Airflow finds them."""
        bag = DagBag(dag_folder=str(self.bundle(version).path / DAG_FILE), safe_mode=False)
        assert not bag.import_errors
        return {name: set(dag.task_ids) for name, dag in bag.dags.items() if name != "muster_reconciler"}


def lost(monkeypatch: pytest.MonkeyPatch) -> None:
    """From now on the database cannot be reached."""
    nowhere = {"conn_type": "postgres", "host": "127.0.0.1", "port": 9, "schema": "none", "login": "x"}
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", json.dumps(nowhere))
    monkeypatch.setattr("muster_airflow.versions.LONGEST_WAIT", 1.0)


def test_a_version_that_airflow_has_cleaned_up_is_there_again_for_the_run_that_needs_it(
    machine: Machine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.publish()
    for number in range(12):
        write(source, "one", f"edit {number}")
        version = machine.publish()
        with base.BundleVersionLock("muster", version):
            pass  # A task has run.
    with base.BundleVersionLock("muster", first):
        pass
    (machine.disk / "_tracking" / "muster" / first).write_text("2001-01-01T00:00:00+00:00")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD", "60")
    base.BundleUsageTrackingManager()._remove_stale_bundle_versions_for_bundle("muster")
    assert first not in machine.versions(), "Airflow keeps ten versions"
    assert "text: 'first'" in machine.said(first)


def test_airflow_does_not_clean_up_what_a_process_uses(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    first = machine.publish()
    using = machine.bundle(first)
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_AGE_THRESHOLD", "-60")
    monkeypatch.setenv("AIRFLOW__DAG_PROCESSOR__STALE_BUNDLE_CLEANUP_MIN_VERSIONS", "0")
    base.BundleUsageTrackingManager()._remove_stale_bundle_versions_for_bundle("muster")
    assert using.path.is_dir()


def test_another_machine_fills_its_disk_from_the_database(machine: Machine) -> None:
    first = machine.publish()
    machine.use("second")
    assert "text: 'first'" in machine.said(first)
    assert machine.versions() == {first}


def test_half_a_version_on_disk_is_not_used(machine: Machine) -> None:
    first = machine.publish()
    folder = machine.disk / "muster" / "versions" / first
    (folder / "include" / "automations" / "one.yaml").unlink()
    assert "text: 'first'" in machine.said(first)
    (folder / "include" / "automations" / "one.yaml").write_text("automation: other\n")
    assert "text: 'first'" in machine.said(first)
    assert machine.versions() == {first}


def test_what_python_keeps_beside_the_files_changes_no_version(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.publish()
    folder = machine.disk / "muster" / "versions" / first / "dags" / "__pycache__"
    folder.mkdir()
    (folder / "automations.cpython-311.pyc").write_bytes(b"x")
    lost(monkeypatch)
    assert "text: 'first'" in machine.said(first)


def test_what_is_on_disk_works_without_the_database(
    machine: Machine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.publish()
    lost(monkeypatch)
    assert "text: 'first'" in machine.said(first)
    write(source, "one", "second")
    assert machine.publish() == first, "nothing is published that the database does not keep"
    machine.use("second")
    with pytest.raises(TransientError):
        machine.bundle(first)
    assert not base.get_bundle_tracking_file("muster", first).exists(), "Airflow's cleanup breaks off at such a one"
    with pytest.raises(TransientError):
        machine.bundle()


def test_what_could_not_be_kept_is_published_once_the_database_is_back(
    machine: Machine, source: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first = machine.publish()
    bundle = machine.bundle()
    lost(monkeypatch)
    write(source, "one", "second")
    bundle.refresh()
    assert str(first) in str(bundle.path)
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    bundle.refresh()
    second = bundle.get_current_version()
    assert second is not None
    assert second.version != first
    assert BundleStore(Database(dsn)).versions("muster") == [second.version, first]


def test_two_that_fill_the_same_disk_at_once_both_find_it_whole(
    machine: Machine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "agents").mkdir()
    for number in range(50):
        write(source, f"many_{number}", "x" * 1000)
    first = machine.publish()
    for name in ("empty", "half"):
        machine.use(name)
        if name == "half":
            (machine.disk / "muster" / "versions" / first / "dags").mkdir(parents=True)
        with ThreadPoolExecutor(8) as threads:
            said = list(threads.map(lambda _: machine.said(first), range(16)))
        assert all("text: 'first'" in text for text in said)
        assert machine.versions() == {first}


def test_versions_from_before_the_database_kept_them_are_kept_at_the_first_start(
    machine: Machine, source: Path, dsn: str
) -> None:
    old = Publisher(source, machine.disk / "muster" / "versions").publish(None)
    write(source, "one", "second")
    (machine.disk / "muster" / "versions" / "0123456789abcdef").mkdir()
    current = machine.publish()
    store = BundleStore(Database(dsn))
    assert store.versions("muster") == [current, old]
    machine.use("second")
    assert "text: 'first'" in machine.said(old)


def test_a_new_machine_holds_an_invalid_file_back_as_the_one_before_did(machine: Machine, source: Path) -> None:
    machine.publish()
    machine.use("second")
    (source / "automations" / "one.yaml").write_text("automation: one\nsteps: 7\n")
    assert "text: 'first'" in machine.said(machine.publish())


def test_what_airflow_knows_is_not_pruned(machine: Machine, source: Path, dsn: str) -> None:
    initdb()
    published = []
    for number in range(5):
        write(source, "one", f"edit {number}")
        machine.use(f"machine {number}")
        published.append(machine.publish())
        if number == 0:
            with create_session() as session:
                session.merge(DagBundleModel(name="muster", version=published[0]))
        with psycopg.connect(dsn) as connection:
            connection.execute("UPDATE bundle_versions SET published_at = published_at - interval '2 days'")
    assert BundleStore(Database(dsn)).versions("muster") == [*published[:2:-1], published[0]]


def test_the_triggerer_takes_skills_from_the_database_too(machine: Machine, source: Path) -> None:
    (source / "skills").mkdir()
    (source / "skills" / "own.py").write_text("FIRST = True\n")
    first = machine.publish()
    machine.use("triggerer")
    skills = pinned_skills(first)
    assert skills is not None
    assert (skills / "own.py").read_text() == "FIRST = True\n"
    with pytest.raises(VersionGone):
        pinned_skills("0123456789abcdef")


def test_a_version_is_read_once_for_all_triggers_and_again_when_it_was_written_anew(
    machine: Machine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (source / "skills").mkdir()
    (source / "skills" / "own.py").write_text("FIRST = True\n")
    first = machine.publish()
    folder = pinned_skills(first)
    assert folder is not None
    reads = []
    monkeypatch.setattr(versions, "read", lambda read, real=versions.read: reads.append(read) or real(read))
    assert [pinned_skills(first) for _ in range(5)] == [folder] * 5
    assert len(reads) == 0
    shutil.rmtree(folder.parent.parent)
    assert pinned_skills(first) == folder
    assert (folder / "own.py").read_text() == "FIRST = True\n"
    assert pinned_skills(first) == folder
    assert 0 < len(reads) < 4


@pytest.mark.parametrize("how", ["changed", "in the same size and time", "removed", "added", "moved"])
def test_a_version_that_was_changed_since_it_was_read_is_not_used(machine: Machine, source: Path, how: str) -> None:
    (source / "skills").mkdir()
    (source / "skills" / "own.py").write_text("FIRST = True\n")
    first = machine.publish()
    skills = pinned_skills(first)
    assert skills is not None
    own, before = skills / "own.py", (skills / "own.py").stat()
    time.sleep(0.02)  # Longer than the clock of a file system takes to go on.
    if how == "removed":
        own.unlink()
    elif how == "added":
        (skills / "more.py").write_text("MORE = True\n")
    elif how == "moved":
        own.rename(skills / "other.py")
    else:
        own.write_text("OTHER = True\n")
    if how == "in the same size and time":
        own.write_text("FIRST = None\n"[: before.st_size])
        os.utime(own, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert pinned_skills(first) == skills
    assert {path.name: path.read_text() for path in skills.glob("*.py")} == {"own.py": "FIRST = True\n"}


BASH = """automation: {name}
steps:
  - {{id: dump, operator: airflow.providers.standard.operators.bash.BashOperator, with: {{bash_command: "{command}"}}}}
  - {{id: wait, human: {{ask: "Ok?", assignees: [bob]}}}}
"""
WHOLE = {"open", "close", "dump", "wait"}


def refused_today(source: Path, what: str) -> None:
    """Something that was valid on the day it was published."""
    if what == "setting":
        (source / "settings.yaml").write_text("auth_key: customer_no\n")
    elif what == "command":
        text = BASH.format(name="dumping", command="PGPASSWORD=Xk29vQw71zLm psql")
        (source / "automations" / "dumping.yaml").write_text(text)
    elif what in ("control", "said"):
        described = {"control": r'"D:\01_inbox"', "said": "'password: Sommer2024!xyz'"}[what]
        text = f"description: {described}\n" + GOOD.format(name="one", text="first")
        (source / "automations" / "one.yaml").write_text(text)
    elif what == "agent":
        (source / "agents").mkdir()
        clerk = '{id: clerk, role: A clerk., instructions: "sk-ant-api03-Xk29vQw71zLmPq84RtYb53NcHd60"}'
        agents = f"department: ops\nagents:\n  - {clerk}\n"
        (source / "agents" / "ops.yaml").write_text(agents)
        text = "automation: one\nsteps:\n  - {id: tell, agent: clerk, ask: 'What now?'}\n"
        (source / "automations" / "one.yaml").write_text(text)
    else:
        text = GOOD.format(name="one", text="first").replace("id: tell,", "id: tell, when: 'n > 3',")
        (source / "automations" / "one.yaml").write_text(text)


@pytest.mark.parametrize("what", ["setting", "command", "agent", "condition", "control", "said"])
def test_a_run_goes_on_in_a_version_that_todays_rules_would_refuse(
    machine: Machine, source: Path, tmp_path: Path, what: str
) -> None:
    (source / "automations" / "dumping.yaml").write_text(BASH.format(name="dumping", command="true"))
    refused_today(source, what)
    old = machine.published_by_rules_of_that_day(source)
    tasks = machine.tasks(old)
    assert {name: found >= WHOLE for name, found in tasks.items()}["dumping"], tasks
    assert "tell" in tasks["one"]
    fresh = tmp_path / "fresh" / Publisher(source, tmp_path / "fresh").publish(None)
    assert list(fresh.glob("dags/invalid__*.py")), "published anew, it is refused"


@pytest.mark.parametrize("what", ["setting", "command", "agent", "condition", "control", "said"])
def test_what_todays_rules_refuse_stops_neither_the_others_nor_their_edits(
    machine: Machine, source: Path, what: str
) -> None:
    (source / "automations" / "dumping.yaml").write_text(BASH.format(name="dumping", command="true"))
    refused_today(source, what)
    old = machine.published_by_rules_of_that_day(source)
    write(source, "two", "second")
    new = machine.publish()
    assert new != old
    assert machine.tasks(new) == machine.tasks(old)
    version = machine.disk / "muster" / "versions" / new
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()
    assert list(version.glob("dags/invalid__*.py")), "what is refused is said"
    write(source, "two", "third }}{{")
    version = machine.disk / "muster" / "versions" / machine.publish()
    assert machine.tasks(version.name) == machine.tasks(old)
    assert "second" in (version / "include" / "automations" / "two.yaml").read_text()


def test_without_settings_that_can_be_read_nothing_of_a_version_is_built(
    machine: Machine, source: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    version = machine.published_by_rules_of_that_day(source)
    assert "tell" in machine.tasks(version)["one"]
    monkeypatch.setenv("MUSTER_ENVIRONMENT", "nowhere")
    assert machine.tasks(version) == {"one": {"muster.not_valid"}, "two": {"muster.not_valid"}}


def test_a_callback_that_nothing_needs_is_passed_over_without_a_line_of_log(
    machine: Machine, source: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pinned = MusterBundle(path=str(source.parent), name="muster", version=machine.publish(), refresh_interval=5)

    def prepare_callback_bundle() -> None:
        """As Airflow's Dag processor, by whose name it is known."""
        for begin in (pinned.initialize, lambda: 1 / 0):
            try:
                begin()
            except Exception:
                structlog.get_logger("processor").exception("Error initializing")

    prepare_callback_bundle()
    said = capsys.readouterr().out
    assert "CallbackNotNeeded" not in said
    assert said.count("Error initializing") == 1, "other errors are said"
