"""Promises of doing work again: exactly the dead letters, or a run from a step on, and nothing else."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events.model import EventType, NewEvent
from muster.operations.redoing import order, plan_discard, plan_redrive, plan_restart, standing
from muster.saga.resuming import resume
from support.depot import AUTOMATION, NAMES, Depot, airflow_tasks
from support.reconciled import begun_again


@pytest.fixture
def depot(tmp_path: Path, database: Database) -> Depot:
    """The site."""
    return Depot(tmp_path, database)


@pytest.mark.parametrize("pack", [1, 2, "all"])
def test_redriving_an_item_repeats_that_item_and_nothing_else_of_any_list(depot: Depot, pack: Any) -> None:
    run = depot.run(pack, "b", "e")
    assert depot.site.state(run).status == "failed"
    plan = depot.redrive(run, each=[1])
    depot.perform(run, plan)
    assert depot.called() == ["each b", "last last", "then b"]
    state = depot.site.state(run)
    assert state.step("each").output == ["a", "b", "c", "d", None]
    assert state.step("then").output == ["a", "b", "c", "d", None]
    assert (state.status, state.counts["failed"]) == ("failed", 1), "e has failed, and nobody did it again"

    depot.perform(run, depot.redrive(run, each=[4]), epoch=2)
    assert depot.called() == ["each e", "last last", "then e"]
    assert depot.site.state(run).status == "succeeded"


def test_only_the_item_s_own_task_is_cleared_in_its_step_and_all_after_it(depot: Depot) -> None:
    run = depot.run(2, "e")
    plan = depot.redrive(run, each=[4])
    assert plan.tasks(airflow_tasks(depot.definition)) == [
        "close",
        "last",
        "then",
        "then.items",
        "unwind.begin",
        ("each", 2),
    ]


def test_a_list_of_which_everything_failed_is_laid_out_anew_after_it(depot: Depot) -> None:
    run = depot.run(1, *NAMES)
    depot.perform(run, depot.redrive(run, each=[0, 3]))
    assert depot.called() == ["each a", "each d", "last last", "then a", "then d"]
    assert depot.site.state(run).step("each").status == "succeeded"


def test_an_item_may_fail_again_and_be_redriven_again(depot: Depot) -> None:
    run = depot.run(1, "b")
    (depot.folder / "b.broken").touch()
    depot.perform(run, depot.redrive(run, each=[1]))
    state = depot.site.state(run)
    assert (state.status, state.step("each").work(1).decision) == ("failed", None)
    (depot.folder / "b.broken").unlink()
    depot.perform(run, depot.redrive(run, each=[1]), epoch=2)
    assert depot.site.state(run).status == "succeeded"


def test_what_is_cleared_without_a_redrive_is_done_again_as_a_whole(depot: Depot) -> None:
    run = depot.run(1, "b")
    depot.perform(run, depot.redrive(run, each=[1]))
    depot.called()
    depot.site.all_of(run, "each", epoch=2)
    assert depot.called() == [f"each {name}" for name in NAMES]


def test_a_restart_does_the_step_and_everything_after_it_again(depot: Depot) -> None:
    run = depot.run(1, "b")
    depot.perform(run, depot.restart(run, "each"))
    assert depot.called() == [*(f"each {n}" for n in NAMES), "last last", *(f"then {n}" for n in NAMES)]
    state = depot.site.state(run)
    assert (state.status, state.step("first").work(None).epoch) == ("succeeded", 0)


@pytest.mark.parametrize(
    ("work_items", "said"),
    [
        ({"each": [0]}, r"each\[0\] .* is no dead letter"),
        ({"each": [99]}, r"each\[99\] .* is no dead letter"),
        ({"nothing": [None]}, "nothing of .* is no dead letter"),
    ],
)
def test_what_is_no_dead_letter_is_refused(depot: Depot, work_items: dict[str, list[int | None]], said: str) -> None:
    run = depot.run(1, "b")
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match=said):
        depot.redrive(run, **work_items)
    assert depot.site.state(run).version == before


def test_what_was_discarded_is_not_redriven(depot: Depot) -> None:
    run = depot.run(1, "b")
    log = depot.site.services.log
    order(log, plan_discard(log, run, {"each": [1]}, by="ada", reason="paid by hand"))
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match="was discarded; nothing was changed"):
        depot.redrive(run, each=[1])
    with pytest.raises(MusterError, match="was discarded"):
        plan_discard(log, run, {"each": [1]}, by="bob", reason="again")
    assert depot.site.state(run).version == before


def test_of_two_who_redrive_at_once_one_is_told(depot: Depot) -> None:
    run = depot.run(1, "b")
    log, definitions = depot.site.services.log, depot.site.services.definitions
    plans = [plan_redrive(log, definitions, run, {"each": [1]}, by=who) for who in ("ada", "bob")]
    order(log, plans[0])
    with pytest.raises(MusterError, match="at the same moment; nothing was changed"):
        order(log, plans[1])
    assert [event.type for event in log.read(run)].count("dead_letter.redriven") == 1


@pytest.mark.parametrize("begun", [False, True])
def test_what_is_being_redriven_is_neither_redriven_nor_discarded_nor_restarted(depot: Depot, begun: bool) -> None:
    run = depot.run(1, "b", "e")
    log = depot.site.services.log
    plan = depot.redrive(run, each=[1])
    if begun:
        assert depot.site.do(begun_again(depot.site, run)) == 1
    before = depot.site.state(run).version
    said = r"goes on already: ada has redriven each\[1\] at .*; nothing was changed"
    for again in (
        lambda: depot.redrive(run, each=[1]),
        lambda: depot.redrive(run, each=[4]),
        lambda: depot.restart(run, "last"),
        lambda: plan_discard(log, run, {"each": [1]}, by="bob", reason="paid by hand"),
    ):
        with pytest.raises(PermanentError, match=said) as told:
            again()
        assert f"muster cancel {run}" in str(told.value.remedy)
    assert depot.site.state(run).version == before
    depot.perform(run, plan)
    depot.perform(run, depot.redrive(run, each=[4]), epoch=2)
    assert depot.site.state(run).status == "succeeded"


def test_an_unknown_run_step_or_definition_is_said_and_nothing_changed(depot: Depot, database: Database) -> None:
    run = depot.run(1, "b")
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match="There is no run tested/never"):
        depot.restart("tested/never", "each")
    with pytest.raises(MusterError, match="has no step 'eech'"):
        depot.restart(run, "eech")
    with database.connection() as connection:
        connection.execute("DELETE FROM definitions")
    depot.site.services.definitions._cache.clear()
    for attempt in (lambda: depot.restart(run, "each"), lambda: depot.redrive(run, each=[1])):
        with pytest.raises(MusterError, match="no definition"):
            attempt()
    assert depot.site.state(run).version == before


def test_a_run_that_has_not_ended_is_not_restarted(depot: Depot) -> None:
    run = depot.site.open(depot.site.definition(AUTOMATION.format(pack=1)), folder="", names=[])
    with pytest.raises(MusterError, match="has not ended"):
        depot.restart(run, "each")


UNDO = "compensate: {skill: depot.work, with: {name: undo, folder: '{{ inputs.folder }}'}, retry: {times: 0}}"
UNDOABLE = f"""automation: tested
inputs: {{folder: {{type: string}}, names: {{type: array, items: {{type: string}}, default: []}}}}
steps:
  - {{id: before, skill: depot.work, with: {{name: before, folder: "{{{{ inputs.folder }}}}"}}}}
  - {{id: first, skill: depot.work, with: {{name: first, folder: "{{{{ inputs.folder }}}}"}}, {UNDO}}}
  - {{id: second, skill: depot.work, with: {{name: second, folder: "{{{{ inputs.folder }}}}"}}, {UNDO}}}
  - {{id: last, skill: depot.work, with: {{name: last, folder: "{{{{ inputs.folder }}}}"}}}}
"""
STEPS = ("before", "first", "second", "last")


def undone(depot: Depot, *broken: str) -> str:
    """A run that broke at its last step and was undone, also where that broke first and a person had it go on."""
    for name in ("last", *broken):
        (depot.folder / f"{name}.broken").touch()
    run = depot.site.open(depot.site.definition(UNDOABLE), folder=str(depot.folder))
    for step in STEPS:
        depot.site.step(run, step)
    depot.site.unwind(run)
    depot.site.close(run)
    for file in depot.folder.glob("*.broken"):
        file.unlink()
    if broken:
        assert depot.site.state(run).status == "stuck"
        with pytest.raises(PermanentError, match=f"muster resume {run}"):
            depot.restart(run, "first")
        resumed(depot, run, by_hand=False)
    assert depot.site.state(run).status == "compensated"
    depot.called()
    return run


def resumed(depot: Depot, run: str, *, by_hand: bool) -> int:
    """A person has the undoing of a stuck run go on; the epoch that comes after it."""
    epoch = (depot.site.state(run).ended or 0) + 1
    resume(depot.site.services.log, run, by="ada", by_hand=by_hand)
    depot.site.unwind(run, epoch=epoch)
    depot.site.close(run, epoch=epoch)
    return epoch + 1


@pytest.mark.parametrize("broken", [(), ("undo",)])
def test_a_run_that_was_undone_at_once_or_at_last_is_restarted_from_what_was_undone(
    depot: Depot, broken: tuple[str, ...]
) -> None:
    run = undone(depot, *broken)
    epoch = (depot.site.state(run).ended or 0) + 1
    plan = depot.restart(run, "first")
    for step in plan.steps:
        depot.site.step(run, step, epoch=epoch)
    assert depot.site.unwind(run, epoch=epoch) == "skipped"
    depot.site.close(run, epoch=epoch)
    assert depot.called() == ["first first", "last last", "second second"]
    state = depot.site.state(run)
    assert (state.status, [state.step(step).status for step in STEPS]) == ("succeeded", ["succeeded"] * 4)


@pytest.mark.parametrize("broken", [(), ("undo",)])
@pytest.mark.parametrize("step", ["second", "last"])
def test_a_restart_that_would_leave_undone_work_out_is_refused_and_names_where_to_begin(
    depot: Depot, broken: tuple[str, ...], step: str
) -> None:
    run = undone(depot, *broken)
    before = depot.site.state(run).version
    with pytest.raises(MusterError, match=r"Step first of .* was undone") as refused:
        depot.restart(run, step)
    assert refused.value.remedy is not None
    assert f"muster restart {run} --from first" in refused.value.remedy
    assert depot.site.state(run).version == before


ALIGNED = AUTOMATION.replace(
    'with: {{name: "{{{{ item }}}}", folder: "{{{{ inputs.folder }}}}"}}',
    'with: {{name: "{{{{ item }}}}", folder: "{{{{ inputs.folder }}}}"}}\n    '
    "compensate: {{skill: depot.work, with: {{name: undo, folder: '{{{{ inputs.folder }}}}'}}}}",
    1,
)


def test_discarding_an_item_says_what_was_done_for_it_before_and_undoes_nothing(depot: Depot) -> None:
    depot.definition = depot.site.definition(ALIGNED.format(pack=1))
    run = depot.site.open(depot.definition, folder=str(depot.folder), names=["a", "b"])
    depot.site.step(run, "first")
    depot.site.all_of(run, "each")
    (depot.folder / "b.broken").touch()
    depot.site.all_of(run, "then")
    depot.site.step(run, "last")
    depot.site.close(run)
    depot.called()
    log, definitions = depot.site.services.log, depot.site.services.definitions
    assert standing(log, definitions, run, {"then": [1]}) == ["each[1]"], "what was done for this item, and no other"
    order(log, plan_discard(log, run, {"then": [1]}, by="ada", reason="paid by hand"))
    assert depot.called() == []
    assert depot.site.state(run).step("each").work(1).status == "succeeded"


class Fate(NamedTuple):
    """A step of some run that has ended: what came before it, and what became of it."""

    after: frozenset[int]
    became: Literal["done", "undone", "half undone", "open"]


FATES = st.lists(
    st.builds(
        Fate, st.frozensets(st.integers(0, 5), max_size=3), st.sampled_from(["done", "undone", "half undone", "open"])
    ),
    min_size=1,
    max_size=6,
)


def ended_so(depot: Depot, fates: list[Fate]) -> str:
    """A run of these steps, each named after its place, that ended with them."""
    work = f'skill: depot.work, with: {{name: x, folder: "{depot.folder}"}}'
    steps = list[str]()
    for place, fate in enumerate(fates):
        after = ", ".join(f"s{other}" for other in sorted(fate.after) if other < place)
        steps.append(f"  - {{id: s{place}, after: [{after}], {work}, compensate: {{{work}}}}}")
    run = depot.site.open(depot.site.definition("automation: tested\nsteps:\n" + "\n".join(steps)))
    events = list[NewEvent]()
    for place, fate in enumerate(fates):
        about = {"step": f"s{place}", "index": None, "epoch": 0}
        events.append(NewEvent(type=EventType.STEP_STARTED, data=about | {"kind": "skill", "attempt": 1}))
        if fate.became != "open":
            events.append(NewEvent(type=EventType.STEP_SUCCEEDED, data=about | {"output": "x"}))
    undone = [f"s{place}" for place, fate in enumerate(fates) if "undone" in fate.became]
    half = [f"s{place}" for place, fate in enumerate(fates) if fate.became == "half undone"]
    if undone:
        data: dict[str, Any] = {"reason": "x", "pieces": {name: [None] for name in undone}, "epoch": 0}
        events.append(NewEvent(type=EventType.SAGA_UNWINDING, data=data))
    for name in undone:
        data = {"step": name, "index": None, "work_epoch": 0, "epoch": 0, "output": None}
        became = EventType.COMPENSATION_STARTED if name in half else EventType.COMPENSATION_SUCCEEDED
        events.append(NewEvent(type=became, data=data))
    if half:
        data = {"step": half[-1], "index": None, "error": {"class": "E", "message": "x"}, "epoch": 0}
        events.append(NewEvent(type=EventType.RUN_STUCK, data=data))
    status = "stuck" if half else "compensated" if undone else "failed"
    closed = {"status": status, "reason": "x", "counts": {}, "epoch": 0}
    depot.site.services.log.append(run, [*events, NewEvent(type=EventType.RUN_CLOSED, data=closed)])
    return run


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(FATES, st.booleans())
def test_every_run_can_be_restarted_from_somewhere(depot: Depot, fates: list[Fate], by_hand: bool) -> None:
    """Whoever begins where they are told to comes to a restart that is carried out, from whichever step.

    What is half undone is to be resumed first, which is accepted in either way; then all of the run is undone.
    """
    run = ended_so(depot, fates)
    for step in (f"s{place}" for place in range(len(fates)) if depot.site.state(run).status == "stuck"):
        with pytest.raises(PermanentError, match=f"muster resume {run}"):
            plan_restart(depot.site.services.log, depot.site.services.definitions, run, step, by="ada")
    while depot.site.state(run).status == "stuck":
        resumed(depot, run, by_hand=by_hand)
        fates = [Fate(fate.after, "undone") for fate in fates]
    before = {place: {other for other in fate.after if other < place} for place, fate in enumerate(fates)}
    for place, others in before.items():
        before[place] = others.union(*(before[other] for other in others))
    for place in range(len(fates)):
        step, tried = f"s{place}", set[str]()
        while True:
            assert step not in tried, "told in a circle"
            tried.add(step)
            try:
                plan = plan_restart(depot.site.services.log, depot.site.services.definitions, run, step, by="ada")
                break
            except PermanentError as error:
                step = str(error.remedy).rpartition(" ")[2].rstrip("`.")
        done = {int(name[1:]) for name in plan.steps}
        undone = {number for number, fate in enumerate(fates) if fate.became == "undone"}
        missing = {number for number, fate in enumerate(fates) if fate.became == "open"}
        assert undone <= done
        assert not missing & set().union(*(before[number] for number in done)) - done
        assert {other for other in before if before[other] & done} <= done
