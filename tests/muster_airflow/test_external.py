"""Promises of a step that runs an Airflow operator; a skill's file of calls tells what came after it."""

from __future__ import annotations

import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import providers
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException

from muster.database import Database
from muster.events.model import EventType
from muster.events.structure import SKIPPED
from muster.language.ancestry import skips_others
from muster.local.airflow import connection_json
from muster_airflow.operators.kinds.operator import external_step
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "external")
HEAD = """
automation: tested
settings: {allowed_operators: ["support.*"]}
inputs: {words: {type: string}, folder: {type: string}}
steps:
"""
SINGLE = """
  - {id: look, operator: support.skipping.SkipsItself, with: {words: "{{ inputs.words }}"}}
  - {id: note, skill: office.note, with: {folder: "{{ inputs.folder }}", what: note}}
"""
FAN_OUT = """
  - id: look
    each: [1, 2]
    operator: support.skipping.SkipsItself
    with: {words: "{{ inputs.words }}"}
  - {id: note, each: [1, 2], pack: all, skill: office.note, with: {folder: "{{ inputs.folder }}", what: note}}
"""


@pytest.fixture
def site(tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch) -> Site:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    made = Site(tmp_path, database)
    made.skills("office", SKILLS)
    return made


def execute(
    run: str,
    step: str,
    slot: int | None = None,
    *,
    operator: str = "support.skipping.SkipsItself",
    try_number: int = 1,
    max_tries: int = 0,
) -> None:
    """Execute an operator step as a task process does."""
    dag_id, _, run_id = run.partition("/")
    map_index = -1 if slot is None else slot
    ti = SimpleNamespace(
        dag_id=dag_id,
        run_id=run_id,
        task_id=step,
        map_index=map_index,
        try_number=try_number,
        max_tries=max_tries,
        bundle_instance=None,
    )
    context: Any = {"ti": ti, "dag_run": SimpleNamespace(start_date=datetime.now(UTC))}
    external_step(operator)(task_id=step, slot=slot).execute(context)


@pytest.mark.parametrize("words", [*sorted(SKIPPED), "the file is not there yet", ""])
def test_the_words_of_an_operator_that_skips_itself_are_never_musters_own(
    site: Site, tmp_path: Path, words: str
) -> None:
    run = site.open(site.definition(HEAD + SINGLE), words=words, folder=str(tmp_path))
    with pytest.raises(AirflowSkipException):
        execute(run, "look")
    site.step(run, "note")
    site.close(run)
    assert (tmp_path / "calls").read_text().split() == ["note"], "what comes after it goes ahead, whatever it said"
    state = site.state(run)
    assert (state.status, state.step("look").status) == ("succeeded", "skipped")
    assert words in (state.step("look").whole.reason or "")


@pytest.mark.parametrize("words", sorted(SKIPPED))
def test_so_are_those_of_an_item(site: Site, tmp_path: Path, words: str) -> None:
    run = site.open(site.definition(HEAD + FAN_OUT), words=words, folder=str(tmp_path))
    for slot in range(site.expand(run, "look")):
        with pytest.raises(AirflowSkipException):
            execute(run, "look", slot)
    site.step(run, "note")
    site.close(run)
    assert (tmp_path / "calls").read_text().split() == ["note", "note"]
    assert site.state(run).status == "succeeded"


@pytest.mark.parametrize("max_tries", [0, 1])
def test_one_that_would_have_airflow_skip_what_comes_after_it_fails_for_good(
    site: Site, tmp_path: Path, max_tries: int
) -> None:
    """Where lint could not see it, or an earlier version has it: Airflow is not told to, and the reason is said."""
    others = SINGLE.replace("SkipsItself", "SkipsOthers")
    run = site.open(site.definition(HEAD + others), words="", folder=str(tmp_path))
    with pytest.raises(AirflowFailException, match="has Airflow skip tasks after it") as raised:
        execute(run, "look", operator="support.skipping.SkipsOthers", max_tries=max_tries)
    assert "Write `when`" in str(raised.value)
    site.step(run, "note")
    site.close(run)
    assert not (tmp_path / "calls").exists(), "nothing goes ahead after a step that failed"
    state = site.state(run)
    assert (state.status, state.step("look").status) == ("failed", "failed")


@pytest.mark.parametrize("fan_out", [False, True])
@pytest.mark.parametrize("max_tries", [0, 1])
@pytest.mark.parametrize("name", ["FailsForGood", "TimesOut"])
def test_one_that_airflow_does_not_try_again_fails_for_good_in_its_words(
    site: Site, name: str, max_tries: int, fan_out: bool
) -> None:
    operator = f"support.failing.{name}"
    each = "each: [1, 2], " if fan_out else ""
    run = site.open(site.definition(f"{HEAD}  - {{id: look, {each}operator: {operator}}}\n"), words="", folder="")
    slots = list(range(site.expand(run, "look"))) if fan_out else [None]
    for slot in slots:
        with pytest.raises(AirflowFailException, match="the account is closed"):
            execute(run, "look", slot, operator=operator, max_tries=max_tries)
    said = [event for event in site.services.log.read(run) if "the account is closed" in str(event.data)]
    assert len(said) == len(slots), "each is told once, before the run is closed"
    site.close(run)
    state = site.state(run)
    assert (state.status, state.step("look").status) == ("failed", "failed")


def test_lint_tells_operators_that_have_tasks_skipped_from_others_as_python_does() -> None:
    """All that are installed here: what their files say is what they are."""
    known = {
        f"{module.name}.{name}": found
        for module in pkgutil.walk_packages(providers.__path__, "airflow.providers.", onerror=lambda _: None)
        if ".operators" in module.name and ".example" not in module.name
        for name, found in members(module.name)
    }
    really = {path for path, found in known.items() if any(each.__name__ == "SkipMixin" for each in found.__mro__)}
    assert {path for path in known if skips_others(path)} == really
    assert len(known) > len(really) > 5


def members(module: str) -> list[tuple[str, type[BaseOperator]]]:
    """The operators of a module; none where it wants a package that is not installed."""
    try:
        found = importlib.import_module(module)
    except Exception:
        return []
    return [
        (name, each) for name, each in vars(found).items() if isinstance(each, type) and issubclass(each, BaseOperator)
    ]


def test_what_an_operator_gives_back_stays_money_and_dates(site: Site, tmp_path: Path) -> None:
    what = "{{ steps.look[0][1] * 2 }} {{ steps.look[0][2] | add_days(1) | date('%d.%m.') }} {{ steps.look[1] }}"
    steps = f"""
  - {{id: look, operator: support.operators.Counts}}
  - {{id: note, skill: office.note, with: {{folder: "{{{{ inputs.folder }}}}", what: "{what}"}}}}
"""
    run = site.open(site.definition(HEAD + steps), words="", folder=str(tmp_path))
    execute(run, "look", operator="support.operators.Counts")
    assert site.step(run, "note").status == "succeeded"
    assert (tmp_path / "calls").read_text() == "3.00 01.02. [8, null, null]\n"


RETRIED = "  - {id: look, operator: support.failing.Breaks, retry: {times: 2, delay: 4s, backoff: 2}}\n"


@pytest.mark.parametrize(
    ("budget", "tries", "waits"),
    [("", ["closed", "closed", "closed"], [4, 8]), ("budget: {retries: 1}\n", ["closed", "all 1 retries"], [4])],
    ids=["without a budget", "with a budget"],
)
def test_the_tries_of_an_operator_are_in_the_log_and_count_among_the_retries_of_its_run(
    site: Site, budget: str, tries: list[str], waits: list[float]
) -> None:
    """Airflow makes three."""
    run = site.open(site.definition(HEAD.replace("steps:", f"{budget}steps:") + RETRIED), words="", folder="")
    for attempt, said in enumerate(tries, 1):
        assert site.state(run).step("look").status == ("pending" if attempt == 1 else "retrying")
        with pytest.raises(Exception, match=said):
            execute(run, "look", operator="support.failing.Breaks", try_number=attempt, max_tries=2)
    retried = [event.data for event in site.services.log.read(run, types=[EventType.STEP_RETRIED])]
    assert [(each["attempt"], each["delay"]) for each in retried] == list(enumerate(waits, 1))
    assert {each["error"]["message"] for each in retried} == {"the bank is closed"}
    assert site.state(run).step("look").status == "failed"
