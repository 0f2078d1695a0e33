"""A run reads its own files and those of the runs it asked for, and no other run's, though it knows their names."""

from __future__ import annotations

import base64
from dataclasses import replace
from pathlib import Path

import pytest

from muster.database import Database
from muster.local.airflow import connection_json
from muster_airflow.services import services_in_worker
from support.children import Family
from support.runs import MASTER
from support.sources import source_of

SECRET = "zqx-jane-4711 owes 12 €"
SKILLS = source_of(__file__, "run_files")
READER = """
inputs: {uris: {type: array, default: []}, text: {default: mine}}
steps:
  - {id: keep, skill: files.write, with: {text: "{{ inputs.text }}"}}
  - {id: own, after: [keep], skill: files.read, with: {uri: "{{ steps.keep }}"}}
  - {id: one, after: [keep], each: "{{ inputs.uris }}", pack: all, skill: files.read, with: {uri: "{{ item }}"}}
  - {id: two, after: [keep], each: "{{ inputs.uris }}", skill: files.aread, with: {uri: "{{ item }}"}}
"""
ABOUT = """
inputs: {who: {type: string}, text: {type: string}}
personal: {subject: "{{ inputs.who }}", impersonal: [keep]}
steps:
  - {id: keep, skill: files.write, with: {text: "{{ inputs.text }}"}}
"""
PLAIN = """
inputs: {text: {type: string}}
steps:
  - {id: keep, skill: files.write, with: {text: "{{ inputs.text }}"}}
"""
UPWARD = """
inputs: {text: {type: string}, above: {type: string}}
steps:
  - {id: up, skill: files.read, with: {uri: "{{ inputs.above }}"}, retry: {times: 0}}
"""
PARENT = """
inputs: {text: {default: "the child's"}, who: {default: jane}}
steps:
  - {id: keep, skill: files.write, with: {text: "the parent's"}}
  - {id: ask, after: [keep], run: CHILD, with: {text: "{{ inputs.text }}", MORE}}
  - {id: down, after: [ask], skill: files.read, with: {uri: "{{ steps.ask.outputs.keep }}"}}
  - {id: all, after: [ask], each: "{{ [steps.ask.outputs.keep] }}", skill: files.aread, with: {uri: "{{ item }}"}}
"""
AUTOMATIONS = {
    "reader": READER,
    "about": ABOUT,
    "plain": PLAIN,
    "upward": UPWARD,
    "of_plain": PARENT.replace("CHILD", "plain").replace(", MORE", ""),
    "of_upward": PARENT.replace("CHILD", "upward").replace("MORE", 'above: "{{ steps.keep }}"'),
    "of_about": PARENT.replace("CHILD", "about").replace("MORE", 'who: "{{ inputs.who }}"'),
}


@pytest.fixture
def family(tmp_path: Path, database: Database, monkeypatch: pytest.MonkeyPatch) -> Family:
    """Runs with what a worker of Airflow gives them."""
    family = Family(tmp_path, database, AUTOMATIONS, skills={"files": SKILLS})
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(database.dsn))
    monkeypatch.setenv("MUSTER_MASTER_KEY", base64.b64encode(MASTER).decode())
    monkeypatch.setenv("MUSTER_INCLUDE", str(family.site.include))
    monkeypatch.setenv("MUSTER_ARTIFACTS", str(tmp_path / "artifacts"))
    services = services_in_worker({"ti": None})  # type: ignore[arg-type,typeddict-item]
    family.site.services = replace(services, database=database)
    return family


def kept(family: Family, automation: str, **inputs: str) -> Path:
    """The file that a run of its own has kept."""
    run = family.open(automation, **inputs)
    family.site.step(run, "keep")
    return family.site.services.workspace(run) / "letter.txt"


def test_a_run_reads_no_other_runs_files_though_it_knows_their_names(family: Family) -> None:
    site = family.site
    others = [kept(family, "about", who="jane", text=SECRET), kept(family, "reader", text="another's")]
    run = family.open("reader", uris=[])
    (link := site.services.workspace(run) / "link.txt").symlink_to(others[0])
    (folder := site.services.workspace(run) / "folder").symlink_to(others[0].parent)
    roundabout = site.services.workspace(run) / ".." / others[0].parent.name / "letter.txt"
    uris = [*map(str, others), others[0].as_uri(), str(link), str(folder / "letter.txt"), str(roundabout)]
    run = family.open("reader", uris=uris)
    for step in ("keep", "own", "one"):
        site.step(run, step)
    site.all_of(run, "two")
    state = site.state(run)
    assert state.step("own").output == "mine"
    for step in ("one", "two"):
        items = [state.step(step).items[index] for index in range(len(uris))]
        assert [item.status for item in items] == ["failed"] * len(uris)
        assert all("There is no document" in str(item.error) for item in items)
    assert SECRET not in str([event.data for event in site.services.log.read(run)])


def test_a_run_does_not_read_the_files_of_the_run_that_asked_for_it(family: Family) -> None:
    site = family.site
    run = family.open("of_upward")
    site.step(run, "keep")
    child = family.begin(family.ask(run, "ask"))
    assert site.step(child, "up").status == "failed"
    assert "There is no document" in str(site.state(child).step("up").whole.error)


@pytest.mark.parametrize("child", ["plain", "about"])
def test_a_run_reads_its_childs_files_unless_they_are_about_somebody_it_is_not_about(
    family: Family, child: str
) -> None:
    site = family.site
    run = family.open(f"of_{child}")
    site.step(run, "keep")
    asked = family.begin(family.ask(run, "ask"))
    site.step(asked, "keep")
    site.close(asked)
    family.follow(run, "ask")
    site.step(run, "down")
    site.all_of(run, "all")
    state = site.state(run)
    assert state.step("ask").output["outputs"]["keep"].endswith("letter.txt"), "it knows the name"
    came = [state.step("down").output, state.step("all").items[0].output]
    assert came == (["the child's"] * 2 if child == "plain" else [None, None])
