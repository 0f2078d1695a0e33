"""Promises of a step that runs an Airflow operator; a skill's file of calls tells what came after it."""

from __future__ import annotations

import base64
import importlib
import pkgutil
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from airflow import providers
from airflow.sdk import BaseOperator
from airflow.sdk.exceptions import AirflowFailException, AirflowSkipException, TaskDeferred

from muster.database import Database
from muster.events.model import EventType
from muster.events.personal import Vault
from muster.events.structure import SKIPPED
from muster.language.ancestry import skips_others
from muster.local.airflow import connection_json
from muster.operations.cancelling import request_cancel
from muster.operations.forgetting import forget
from muster_airflow.egress import Failed
from muster_airflow.operators import elsewhere
from muster_airflow.operators.kinds.operator import external_step
from support import failing
from support.operators import context_of
from support.postgres_proxy import postgres_proxy
from support.runs import MASTER, Site
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


def test_what_an_operator_is_given_stays_money_and_dates(site: Site, tmp_path: Path) -> None:
    """Of a skill that declares them, and of another operator."""
    steps = """
  - {id: bill, skill: office.bill}
  - {id: look, operator: support.operators.Counts}
  - id: take
    after: [bill, look]
    operator: support.operators.Names
    with:
      values: ["{{ steps.bill.total }}", "{{ steps.bill.due }}", "{{ steps.look[0][1] }}", "{{ steps.look[0][2] }}"]
"""
    run = site.open(site.definition(HEAD + steps), words="", folder=str(tmp_path))
    assert site.step(run, "bill").status == "succeeded"
    execute(run, "look", operator="support.operators.Counts")
    execute(run, "take", operator="support.operators.Names")
    assert site.state(run).step("take").whole.output == [
        "Decimal 12.30",
        "date 2026-02-28",
        "Decimal 1.50",
        "date 2026-01-31",
    ]


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


def tried(run: str, operator: str, tries: int) -> list[BaseException]:
    """What a task raises in each of the tries that Airflow makes of it, as long as it makes another."""
    raised: list[BaseException] = []
    for attempt in range(1, tries + 1):
        with pytest.raises(Exception) as error:
            execute(run, "look", operator=operator, try_number=attempt, max_tries=tries - 1)
        raised.append(error.value)
        if isinstance(error.value, AirflowFailException):
            break
    return raised


GIVES = "support.operators.Gives"


@pytest.mark.parametrize(
    ("what", "place"), [("bytes", "[1][1], bytes"), ("deep", "depth"), ("endless", "Circular"), ("number", "['n']")]
)
def test_an_operator_whose_result_has_no_form_in_json_is_not_done_again(
    site: Site, tmp_path: Path, what: str, place: str
) -> None:
    step = f"  - {{id: look, operator: {GIVES}, with: {{folder: '{tmp_path}', what: {what}}}, retry: {{times: 3}}}}\n"
    run = site.open(site.definition(HEAD + step), words="", folder="")
    (error,) = tried(run, GIVES, 4)
    assert isinstance(error, AirflowFailException)
    (failed,) = site.services.log.read(run, types=[EventType.STEP_FAILED])
    said = failed.data["error"]
    assert said["message"].startswith(f"The operator {GIVES} has finished, but its result cannot be written to the log")
    assert place.lower() in said["message"].lower()
    assert "Have it give back" in said["remedy"]
    tried(run, GIVES, 1)
    assert (tmp_path / "calls").read_text() == "done\n", "also when its task is begun again"


def test_so_is_one_that_goes_on_after_a_wait_in_the_triggerer(site: Site, tmp_path: Path) -> None:
    given = f"{{folder: '{tmp_path}', what: bytes, waits: true}}"
    step = f"  - {{id: look, operator: {GIVES}, with: {given}, retry: {{times: 3}}}}\n"
    run = site.open(site.definition(HEAD + step), words="", folder="")
    task = external_step(GIVES)(task_id="look", slot=None)
    with pytest.raises(TaskDeferred):
        task.execute(context_of(run, "look", max_tries=3))
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="has finished, but its result cannot be written to the log"):
            task.resume_execution("done", {"event": "here"}, context_of(run, "look", max_tries=3))
    assert (tmp_path / "calls").read_text() == "done\n"
    assert site.state(run).step("look").status == "failed"


def test_so_is_an_item_and_no_other_fails_with_it(site: Site, tmp_path: Path) -> None:
    step = f"""
  - id: look
    each: [bytes, well]
    operator: {GIVES}
    with: {{folder: "{tmp_path}", what: "{{{{ item }}}}"}}
    retry: {{times: 3}}
"""
    run = site.open(site.definition(HEAD + step), words="", folder="")
    site.expand(run, "look")
    for _ in range(2):
        with pytest.raises(AirflowFailException, match="cannot be written to the log"):
            execute(run, "look", 0, operator=GIVES, max_tries=3)
    execute(run, "look", 1, operator=GIVES, max_tries=3)
    assert (tmp_path / "calls").read_text() == "done\ndone\n"
    assert {at: item.status for at, item in site.state(run).step("look").items.items()} == {0: "failed", 1: "succeeded"}


@pytest.mark.parametrize("budget", ["", "budget: {retries: 3}\n"])
def test_nothing_is_written_of_a_try_that_fails_after_its_run_has_ended(
    site: Site, budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.open(site.definition(HEAD.replace("steps:", f"{budget}steps:") + RETRIED), words="", folder="")
    ended: list[int] = []

    def meanwhile() -> None:
        site.close(run, {"look": "failed"})
        ended.append(len(list(site.services.log.read(run))))

    monkeypatch.setattr(failing, "meanwhile", [meanwhile])
    with pytest.raises(Failed, match="the bank is closed"):
        execute(run, "look", operator="support.failing.Breaks", max_tries=2)
    assert [len(list(site.services.log.read(run)))] == ended
    assert (site.state(run).status, site.state(run).step("look").status) == ("failed", "stopped")


def test_no_other_try_follows_one_that_fails_in_a_run_that_was_cancelled(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.open(site.definition(HEAD + RETRIED), words="", folder="")
    monkeypatch.setattr(failing, "meanwhile", [lambda: request_cancel(site.services.log, run, by="admin")])
    with pytest.raises(AirflowSkipException):
        execute(run, "look", operator="support.failing.Breaks", max_tries=2)
    assert not list(site.services.log.read(run, types=[EventType.STEP_RETRIED]))
    assert (site.state(run).step("look").status, site.state(run).step("look").whole.reason) == ("skipped", "cancelled")


@pytest.mark.parametrize("budget", ["", "budget: {retries: 3}\n"])
def test_a_try_that_failed_is_written_once_also_when_the_answer_to_that_is_lost(
    site: Site, dsn: str, budget: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = site.open(site.definition(HEAD.replace("steps:", f"{budget}steps:") + RETRIED), words="", folder="")
    monkeypatch.setattr(elsewhere, "RETRY_DELAYS", (0.1,) * 60)
    with postgres_proxy(dsn) as proxy:
        monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(proxy.dsn))
        proxy.lose_next_answer(to=b"the bank is closed")
        with pytest.raises(Failed, match="the bank is closed"):
            execute(run, "look", operator="support.failing.Breaks", max_tries=2)
        assert proxy.lost == 1
    assert len(list(site.services.log.read(run, types=[EventType.STEP_RETRIED]))) == 1


@pytest.mark.parametrize("how", ["support.failing.FailsForGood", "support.skipping.SkipsItself"])
def test_one_that_is_begun_again_after_somebody_was_forgotten_ends_as_it_had(
    site: Site, database: Database, how: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_MASTER_KEY", base64.b64encode(MASTER).decode())
    given = ", with: {words: '{{ inputs.words }}'}" if "skipping" in how else ""
    head = HEAD.replace("steps:", "personal: {subject: '{{ inputs.words }}'}\nsteps:")
    run = site.open(site.definition(f"{head}  - {{id: look, operator: {how}{given}}}\n"), words="Jane Roe", folder="")
    kind = AirflowSkipException if given else AirflowFailException
    for _ in range(2):
        with pytest.raises(kind) as error:
            execute(run, "look", operator=how, max_tries=1)
        forget(database, Vault(lambda: MASTER), "Jane Roe", by="officer")
        assert "Jane" not in str(error.value)
