"""A kind of step or of trigger is added in three files, a channel in two, and none is missing anywhere."""

from __future__ import annotations

import re
import sys
from pathlib import Path

import pytest

from muster.events.model import ASKING
from muster.execution.kinds import ACTIONS
from muster.language.channels import CHANNELS
from muster.language.kinds import KINDS
from muster.language.triggers import TRIGGERS
from muster_airflow.channels import channels
from muster_airflow.compiler import triggers as brought
from muster_airflow.operators import kinds as tasks
from support.played import played

HERE = Path(__file__).parent
ROOT = HERE.parent


def test_no_kind_is_missing_anywhere() -> None:
    assert set(tasks.kinds()) == set(KINDS), "each has its operators"
    assert set(ACTIONS) == {name for name, kind in KINDS.items() if kind.resolved.done_by == "muster"}, (
        "each is done by somebody"
    )
    assert set(ASKING) == {name for name, kind in KINDS.items() if kind.resolved.done_by == "people"}, (
        "the log shows who waits"
    )
    for name, kind in KINDS.items():
        assert Path(sys.modules[kind.model.__module__].__file__ or "").stem == name, "it is called as its module"
        assert kind.expressions <= {*kind.model.model_fields}, name
        assert tasks.task_of(name), name


def test_no_kind_of_trigger_is_missing_anywhere() -> None:
    assert set(brought.kinds()) == set(TRIGGERS), "each has what it brings"
    for name, kind in TRIGGERS.items():
        what = brought.brings(name)
        assert what.schedule or what.dag or what.router, f"nothing starts a run for {name}"
        assert name in kind.model.model_fields
        assert kind.known_by in kind.resolved.model_fields
    assert len({kind.known_by for kind in TRIGGERS.values()}) == len(TRIGGERS), "stored ones are told apart"


def test_no_channel_is_missing_anywhere() -> None:
    assert set(channels()) == set(CHANNELS), "each has what delivers its notices"
    for name, channel in CHANNELS.items():
        assert Path(sys.modules[channel.model.__module__].__file__ or "").stem == name, "it is called as its module"
        assert {name, "text"} <= set(channel.model.model_fields) <= {name, "text", "subject"}
    assert len({channel.connection for channel in CHANNELS.values()}) == len(CHANNELS)


def test_no_other_file_knows_a_channel_by_its_name() -> None:
    said = [each for channel in CHANNELS.values() for each in (channel.name, channel.carrier, channel.connection)]
    knows = re.compile(
        rf"""["'](?:{"|".join(said)})["']|\b(?:{"|".join(it.model.__name__ for it in CHANNELS.values())})\b"""
    )
    files = [*(ROOT / "include/muster").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    own = [path for path in files if path.parent.name in ("channels", "versions")]
    assert len([path for path in own if knows.search(path.read_text())]) > 2 * len(CHANNELS), "it finds them"
    assert [str(path) for path in {*files} - {*own} if knows.search(path.read_text())] == []


BY_NAME = {
    "include/muster/approvals/escalation.py": "people's answers are of the kind that asks people",
    "include/muster/cli/answerable.py": "it compares those who are asked with those who may log in",
    "include/muster/cli/doctor.py": "it looks whether operators can be imported",
    "include/muster/cli/redriving.py": "it asks for kinds of dead letters",
    "include/muster/events/model.py": "the log is below the language",
    "include/muster/execution/actions.py": "a fallback that asks an agent returns what its step does",
    "include/muster/execution/rerun_scope.py": "a question may be asked again",
    "include/muster/language/runs.py": "a file that names another automation is checked with it",
    "include/muster/operations/debugging.py": "it plays branches anew",
    "include/muster/runs/children.py": "runs that were asked for are of the kind that asks for them",
    "plugins/muster_airflow/links.py": "a task that asks for a run has a link to it",
    "plugins/muster_airflow/reference.py": "Airflow names the operator of a question",
}
"""Files that know a kind by its name although they are none of its own, each with the reason."""


def test_no_other_file_asks_for_a_kind_by_its_name() -> None:
    names = "|".join(KINDS)
    models = "|".join(model.__name__ for kind in KINDS.values() for model in (kind.model, kind.resolved))
    compared = rf"""\bkind["')\]]*\s*(?:[!=]=|(?:not )?in)[\s(\[{{]*"(?:{names})\""""
    asks = re.compile(rf"""{compared}|\b(?:{models})\b|\({{"(?:{names})"}}\)""")
    files = [*(ROOT / "include/muster").rglob("*.py"), *(ROOT / "plugins").rglob("*.py")]
    own = [path for path in files if path.parent.name == "kinds"]
    assert len([path for path in own if asks.search(path.read_text())]) > len(KINDS), "it finds them"
    found = {str(path.relative_to(ROOT)) for path in {*files} - {*own} if asks.search(path.read_text())}
    assert found == set(BY_NAME)


@pytest.mark.parametrize("name", KINDS)
def test_every_lane_of_a_kind_has_an_operator_that_is_named_after_it(name: str) -> None:
    own = {"operator": "airflow.providers.standard.operators.empty.EmptyOperator"} if name == "operator" else {}
    for lane in KINDS[name].lanes:
        step = KINDS[name].resolved.model_construct(id="one", kind=name, lane=lane, **own)
        found = tasks.task_of(name).operator(step)
        assert found.custom_operator_name == (name if name != "operator" else "EmptyOperator")
        assert found.ui_color != "#fff", "it has a colour of its own"
        if KINDS[name].resolved.done_by == "muster":
            assert found.start_from_trigger is (lane == "async")


def test_toys_of_three_files_each_are_written_checked_performed_undone_and_documented(postgres: str) -> None:
    assert [len(list((HERE / "toys").rglob(f"{name}.py"))) for name in ("echo", "bell")] == [3, 3]
    toys = HERE / "toys" / "played.py"
    said = played(toys, "-p", "support.toys", imports=[HERE], DATABASE_URL=postgres)
    assert "5 passed" in said, said
