"""Promises of `muster restart --current`: the run goes on with today's version, where all that it did has its place."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.events.queries import Queries
from muster.events.rebuild import rebuild
from muster.operations.newer import Version, differences
from muster.operations.redoing import Plan, order, plan_redrive, plan_restart
from support.depot import AUTOMATION, NAMES, Depot
from support.reconciled import FakeAirflow, begun_again, found

FIRST, LAST = "- {id: first, ", "- {id: last, "
EXTRA = """
  - id: extra
    after: [{after}]
    skill: depot.work
    with: {{name: {name}, folder: "{{{{ inputs.folder }}}}"}}
"""


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    """The site."""
    return Depot(tmp_path, database)


def edited(depot: Depot, pack: Any, *changes: tuple[str, str], more: str = "") -> Version:
    """The automation after an edit."""
    source = AUTOMATION.format(pack=pack) + more
    for old, new in changes:
        assert old in source
        source = source.replace(old, new)
    depot.definition = depot.site.definition(source)
    return Version(depot.definition, "v2")


def plan(depot: Depot, run: str, step: str, now: Version | None) -> Plan:
    return plan_restart(depot.site.services.log, depot.site.services.definitions, run, step, by="ada", now=now)


def go_on(depot: Depot, run: str, step: str, now: Version | None, *, epoch: int = 1) -> Plan:
    """Plan, order, and perform as Airflow does on the latest version."""
    made = plan(depot, run, step, now)
    order(depot.site.services.log, made)
    depot.perform(run, made, epoch=epoch)
    return made


@pytest.mark.parametrize("pack", [1, 2, "all"])
def test_what_is_done_again_and_what_is_new_is_done_by_today_s_yaml(depot: Depot, pack: Any) -> None:
    run = depot.run(pack, "last")
    own = depot.definition
    now = edited(depot, pack, ("name: last", "name: final"), more=EXTRA.format(after="first", name="extra"))
    made = go_on(depot, run, "last", now)
    assert depot.called() == ["extra extra", "last final"]
    assert (made.steps, made.also) == (("last", "extra"), {"extra": "is new"})
    state = depot.site.state(run)
    assert (state.status, state.definition, state.bundle_version) == ("succeeded", now.definition.hash, "v2")
    assert state.step("each").output == NAMES, "what stands is as it was"

    # The rows of the overview, and what is made of the log anew.
    queries = Queries(depot.site.services.database)
    assert queries.run(run).definition == now.definition.hash
    before = queries.run(run)
    rebuild(depot.site.services.database)
    assert queries.run(run) == before
    assert {each["what"] for each in differences(own, now.definition)} == {"arguments", "the step"}


def test_it_stays_with_that_version_whatever_is_done_again_afterwards(depot: Depot) -> None:
    run = depot.run(1, "last", "b")
    now = edited(depot, 1, ("name: last", "name: final"))
    go_on(depot, run, "last", now)
    assert depot.called() == ["last final"]
    # Another process has nothing of it in memory; this one has had the version before.
    edited(depot, 1, ("name: last", "name: third"))
    depot.definition = now.definition
    redriven = plan_redrive(depot.site.services.log, depot.site.services.definitions, run, {"each": [1]}, by="ada")
    order(depot.site.services.log, redriven)
    depot.perform(run, redriven, epoch=2)
    assert depot.called() == ["each b", "last final", "then b"]
    assert depot.site.state(run).status == "succeeded"
    go_on(depot, run, "last", None, epoch=3)
    assert depot.called() == ["last final"]


def test_a_restart_with_the_version_that_the_run_has_says_nothing_of_one(depot: Depot) -> None:
    run = depot.run(1, "last")
    made = plan(depot, run, "last", Version(depot.definition, "v1"))
    assert made.version_now is None
    assert "definition" not in made.events[0].data or made.events[0].data["definition"] is None


@pytest.mark.parametrize(
    ("changes", "more", "said", "remedy"),
    [
        pytest.param(
            [(LAST, LAST + "after: [extra, then], ")],
            EXTRA.format(after="first", name="extra"),
            "Step extra of {run} is new, and would not be done.",
            "--from extra",
            id="new and before it",
        ),
        pytest.param(
            [(FIRST, "- {id: begin, ")],
            "",
            "Step first of {run} has begun, and tested has no such step any more.",
            "Put it back",
            id="gone",
        ),
        pytest.param(
            [('each: "{{ steps.each }}"', 'each: "{{ inputs.names }}"')],
            "",
            "Step then of {run} is not done again, and its each was changed.",
            "--from then",
            id="another list",
        ),
        pytest.param(
            [(FIRST, FIRST + "compensate: {skill: depot.work, with: {name: un, folder: here}}, ")],
            "",
            "Step first of {run} is not done again, and its compensate was changed.",
            "--from first",
            id="undone otherwise",
        ),
        pytest.param(
            [(LAST, LAST + "each: [1], ")],
            "",
            "Step last of {run} has begun as one step, and is a list now.",
            "an id of its own",
            id="a list now",
        ),
        pytest.param(
            [("names: {type: array}", "names: {type: array}, more: {type: integer}")],
            "",
            "do not fit tested as it is now: $: 'more' is a required property",
            "muster run tested",
            id="inputs that are missing",
        ),
    ],
)
def test_a_version_in_which_what_was_done_has_no_place_is_refused_and_nothing_is_written(
    depot: Depot, changes: list[tuple[str, str]], more: str, said: str, remedy: str
) -> None:
    run = depot.run(1, "last")
    before = depot.site.state(run).version
    now = edited(depot, 1, *changes, more=more)
    with pytest.raises(PermanentError) as raised:
        plan(depot, run, "last", now)
    assert said.format(run=run) in raised.value.message
    assert remedy in (raised.value.remedy or "")
    assert depot.site.state(run).version == before


def test_inputs_are_as_the_new_version_declares_them(depot: Depot) -> None:
    run = depot.run(1, "last")
    now = edited(
        depot,
        1,
        ("names: {type: array}", "names: {type: array}, word: {type: string, default: final}"),
        ("with: {name: last", 'with: {name: "{{ inputs.word }}"'),
    )
    go_on(depot, run, "last", now)
    assert depot.called() == ["last final"]
    assert depot.site.state(run).inputs["word"] == "final"


def test_a_run_about_somebody_keeps_the_version_it_was_opened_with(depot: Depot) -> None:
    personal = AUTOMATION.format(pack=1).replace("inputs:", 'personal: {subject: "{{ inputs.who }}"}\ninputs:')
    personal = personal.replace("names: {type: array}", "names: {type: array}, who: {type: string}")
    depot.definition = depot.site.definition(personal)
    (depot.folder / "last.broken").touch()
    run = depot.site.run(depot.definition, folder=str(depot.folder), names=[], who="ada")
    now = depot.site.definition(personal.replace("name: last", "name: final"))
    with pytest.raises(PermanentError, match="is about somebody, and keeps the version it was opened with"):
        plan(depot, run, "last", Version(now, None))


def test_airflow_that_did_not_begin_it_is_asked_again_for_the_latest_version(depot: Depot) -> None:
    run = depot.run(1, "last")
    order(depot.site.services.log, plan(depot, run, "last", edited(depot, 1, ("name: last", "name: final"))))
    airflow = FakeAirflow(state="failed")
    found(depot.site, airflow)
    assert airflow.restarted == [f"{run.split('/', 1)[1]} on the latest version"]
    # Once it has begun, the run has that version in Airflow too.
    assert depot.site.do(begun_again(depot.site, run)) == 1
    airflow.restarted.clear()
    found(depot.site, airflow)
    assert airflow.restarted == [run.split("/", 1)[1]]


def test_an_order_that_airflow_never_took_stays_with_its_version(depot: Depot) -> None:
    run = depot.run(1, "last")
    now = edited(depot, 1, ("name: last", "name: final"))
    made = plan(depot, run, "last", now)
    assert (made.latest, made.bundle_version) == (True, "v2")
    order(depot.site.services.log, made)
    airflow = FakeAirflow(state="failed")
    airflow.refuses = True
    [refused] = found(depot.site, airflow)
    assert "`muster reconcile` has it begun" in refused.remedy
    found(depot.site, airflow, later=timedelta(days=2))
    state = depot.site.state(run)
    assert (state.status, state.reason) == (
        "failed",
        "the run was found open in the log, and Airflow ended it as failed; what was ordered came to nothing",
    )
    # Whatever is ordered next, Airflow has to give the run that version; once it has begun with it, no more.
    for each in (plan(depot, run, "last", now), plan(depot, run, "last", None)):
        assert (each.latest, each.bundle_version, each.version_now) == (True, "v2", None)
    order(depot.site.services.log, plan(depot, run, "last", None))
    epoch = depot.site.do(begun_again(depot.site, run))
    depot.site.step(run, "last", epoch=epoch)
    depot.site.close(run, epoch=epoch)
    assert depot.called() == ["last final"]
    assert not plan(depot, run, "last", None).latest


def test_a_step_that_airflow_has_and_the_run_s_version_has_not_is_left_as_it_is(depot: Depot) -> None:
    run = depot.run(1, "last")
    order(depot.site.services.log, plan(depot, run, "last", None))
    outcome = depot.site.step(run, "unheard_of", epoch=1)
    assert outcome.status == "failed"
    assert "has no step unheard_of" in (outcome.reason or "")


def test_a_definition_that_was_changed_since_is_found_where_a_restart_names_it(depot: Depot) -> None:
    run = depot.run(1, "last")
    now = edited(depot, 1, ("name: last", "name: final"))
    go_on(depot, run, "last", now)
    assert verified(depot, run) is None
    with depot.site.services.database.connection() as connection:
        connection.execute(
            "UPDATE definitions SET content = replace(content::text, 'final', 'other')::json WHERE hash = %(hash)s",
            {"hash": now.definition.hash},
        )
    assert now.definition.hash in str(verified(depot, run))


def verified(depot: Depot, run: str) -> Any:
    return depot.site.services.log.verify(run)
