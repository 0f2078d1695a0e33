"""Every kind of step in every lane and shape: what lint lets pass, Airflow gets, and in the lane that was asked for."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from muster.database import Database
from muster.language import load_folder
from muster.language.kinds import KINDS
from muster.rehearsal.playing import NoModels
from muster_airflow.links import STEPS
from muster_airflow.loading import load_automations
from support.runs import Site

WHAT: dict[str, dict[str, Any]] = {
    "skill": {"skill": "proving.upper", "with": {"text": "x"}},
    "agent": {"agent": "clerk", "ask": "What now?"},
    "human": {"human": {"ask": "Well?", "assignees": ["lead"]}},
    "notify": {"notify": [{"slack": "#ops", "text": "x"}]},
    "branch": {"branch": [{"to": []}]},
    "operator": {"operator": "airflow.providers.standard.operators.empty.EmptyOperator"},
    "run": {"run": "other"},
    "team": {"team": {"tasks": [{"id": "a", "ask": "x"}]}},
}
REFUSES = ("human", "branch", "run", "operator", "team")
"""Kinds that do not take every shape in every lane."""
LANES: list[str | None] = [None, "async", "worker"]
SHAPES: list[dict[str, Any]] = [{}, {"each": [1, 2]}, {"each": [1, 2], "pack": 2}, {"each": [1, 2], "pack": "all"}]
SKILL = """
from muster.skills import skill

@skill("proving.upper")
def upper(text: str) -> str:
    "Up."
    return text.upper()
"""
ALWAYS = {"human": False, "branch": True, "operator": False, "run": False}
"""Whether the kinds that have no choice start in the triggerer."""


@pytest.fixture
def include(tmp_path: Path) -> Path:
    for folder in ("automations", "agents", "skills"):
        (tmp_path / folder).mkdir()
    (tmp_path / "skills" / "proving.py").write_text(SKILL)
    (tmp_path / "agents" / "ops.yaml").write_text("department: ops\nagents: [{id: clerk, role: A clerk.}]\n")
    other = {"automation": "other", "steps": [{"id": "one", **WHAT["notify"]}]}
    (tmp_path / "automations" / "other.yaml").write_text(yaml.safe_dump(other))
    return tmp_path


def test_what_lint_lets_pass_is_a_dag_and_what_it_refuses_is_located(include: Path) -> None:
    assert WHAT.keys() == KINDS.keys()
    made: dict[str, tuple[str, str | None, dict[str, Any]]] = {}
    for kind, what in WHAT.items():
        for lane in LANES:
            for number, shape in enumerate(SHAPES):
                name = f"{kind}_{lane or 'own'}_{number}"
                step = {"id": "one", **what, **shape, **({"lane": lane} if lane else {})}
                text = yaml.safe_dump({"automation": name, "steps": [step]}, sort_keys=False)
                (include / "automations" / f"{name}.yaml").write_text(text)
                made[name] = kind, lane, shape
    catalogue = load_folder(include)
    dags: dict[str, Any] = {}
    load_automations(dags, include, reconciler=False)

    refused = {path.stem: problems for path, problems in catalogue.broken.items()}
    for name, (kind, lane, shape) in made.items():
        if name in refused:
            assert kind in REFUSES, refused[name]
            assert all(f"automations/{name}.yaml" in problem.file for problem in refused[name])
            assert any(word in str(refused[name][0]) for word in ("lane", "each", "pack")), refused[name]
            continue
        dag = dags[name]
        assert "NOT VALID" not in (dag.description or ""), (name, dag.description)
        mapped = kind == "team" or (bool(shape) and shape.get("pack") != "all")
        assert set(dag.task_ids) >= {"open", "one", "close"} | ({"one.items"} if mapped else set()), name
        assert {each.task_type for each in dag.tasks} <= {kind.__name__ for kind in STEPS}, "all have the links"
        task = dag.get_task("one")
        in_triggerer = ALWAYS.get(kind, lane == "async" if lane else kind in ("agent", "notify", "team"))
        assert _starts_in_triggerer(task) is in_triggerer, name
    assert not {name for name in refused if made[name][0] in ("skill", "agent", "notify")}, "these have every lane"


@pytest.mark.parametrize("pack", [2, "all"])
@pytest.mark.parametrize("kind", KINDS)
def test_a_pack_is_done_whole_or_refused(
    include: Path, tmp_path: Path, database: Database, kind: str, pack: int | str
) -> None:
    step = {"id": "one", "each": [1, 2, 3], "pack": pack, **WHAT[kind]}
    path = include / "automations" / "packed.yaml"
    path.write_text(yaml.safe_dump({"automation": "packed", "steps": [step]}, sort_keys=False))
    catalogue = load_folder(include)
    if path in catalogue.broken:
        assert kind in REFUSES
        assert any("pack" in str(problem) for problem in catalogue.broken[path])
        return
    site = Site.of(include, database, tmp_path / "artifacts", NoModels())
    events = list(site.services.log.read(site.run(catalogue.definitions["packed"])))
    # What became of an item does not matter here: each was begun, and ended.
    for types in ({"step.started"}, {"step.succeeded", "step.failed"}):
        assert sorted(event.data["index"] for event in events if event.type in types) == [0, 1, 2]


def _starts_in_triggerer(task: Any) -> bool:
    return bool(getattr(task, "operator_class", type(task)).start_from_trigger)
