"""Promises of a rejection: how far it reaches, and that what cannot be undone hears every one."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.execution.performing import begin
from muster.execution.references import WorkRef
from muster.execution.work_item import WorkItem
from muster.language.definition import Definition
from support.runs import Site
from support.sources import source_of

DESK = source_of(__file__, "rejections_desk")
pytestmark = pytest.mark.skills(desk=DESK)
HEAD = "automation: tested\ninputs: {folder: {type: string}, names: {type: array, default: [x, y]}}\nsteps:\n"
EACH, OTHERS = 'each: "{{ inputs.names }}", ', "each: [u, v], "
FIRST, SECOND = "approve", "second"
REFUSED, APPROVED = 'when: "{{ not steps.approve }}", ', 'when: "{{ steps.approve }}", '


def do(name: str, more: str = "") -> str:
    return f'  - {{id: {name}, {more}skill: desk.do, with: {{name: {name}, folder: "{{{{ inputs.folder }}}}"}}}}\n'


def ask(name: str = FIRST, more: str = "") -> str:
    return f"  - {{id: {name}, {more}human: {{ask: Well?, assignees: [lead]}}}}\n"


def branch(yes: str, no: str, condition: str = "steps.approve") -> str:
    return f'  - {{id: route, branch: [{{when: "{{{{ {condition} }}}}", to: {yes}}}, {{to: {no}}}]}}\n'


ASKED = 'when: "{{ steps.approve | length > 0 }}", '
TELL, NO, YES = do("tell", REFUSED), do("no"), do("yes")
FINAL = "irreversible: true, "
OVERRULED = 'when: "{{ steps.approve or steps.second }}", '
BY_ANOTHER = branch("final", "no", "steps.third") + NO + do("tell", "after: [approve], " + REFUSED)
BESIDE = do("between") + ask(SECOND, "after: [], ")
BOTH = "after: [between, second], "


def unchecked(site: Site, source: str) -> Definition:
    """The definition, also where the lint refuses it today: an earlier version may have stored it."""
    definition = site.definition(source.replace(FINAL, ""))
    final = {line.split("id: ")[1].split(",")[0] for line in source.splitlines() if FINAL in line}
    steps = [step.model_copy(update={"irreversible": step.id in final}) for step in definition.steps]
    return definition.model_copy(update={"steps": tuple(steps)})


def done(site: Site, folder: Path, source: str, **answers: bool) -> list[str]:
    """Play an automation, rejecting where nothing else is said; what was done."""
    definition = unchecked(site, HEAD + source)
    run = site.open(definition, folder=str(folder))
    for step in definition.steps:
        slots: list[Any] = [None] if step.each is None or step.pack == "all" else [*range(site.expand(run, step.id))]
        for slot in slots:
            if step.kind == "human" and goes_ahead(site, run, step.id, slot):
                site.approve(run, step.id, by="lead", approved=answers.get(step.id, False), slot=slot)
            elif step.kind != "human":
                site.step(run, step.id, slot)
    site.close(run)
    assert site.state(run).status == "succeeded"
    found = folder / "done"
    return found.read_text().split() if found.exists() else []


def goes_ahead(site: Site, run: str, step: str, slot: int | None) -> bool:
    """True when the question is put; when not, that is written."""
    return isinstance(site.do(begin(site.services, WorkRef(run=run, step=step, slot=slot))), WorkItem)


@pytest.mark.parametrize("fan", ["", f"{EACH}pack: 1, ", f"{EACH}pack: all, "])
@pytest.mark.parametrize(
    ("before", "more"),
    [
        (ask() + TELL, ""),
        (ask() + ask(SECOND) + TELL, ""),
        (ask() + ask(SECOND, REFUSED), ""),
        (ask() + ask(SECOND, APPROVED), ""),
        (ask() + ask(SECOND, EACH + APPROVED), ""),
        (ask(more=OTHERS) + do("tell", ASKED) + ask(SECOND), ""),
        (ask() + branch("yes", "no") + YES + NO, "after: [yes, no], "),
        (ask() + branch("final", "no") + NO, "after: [no], "),
        (ask() + branch("second", "no") + ask(SECOND) + NO, "after: [second, no], "),
        (ask() + branch("final", "second") + ask(SECOND), "after: [second], "),
        (ask() + branch("final", "no").replace("branch:", "when: false, branch:") + NO, ""),
        (ask() + ask("third", "after: [], ") + BY_ANOTHER, "after: [tell], "),
        (ask() + BESIDE, BOTH + 'when: "{{ steps.second }}", '),
    ],
    ids=[
        "a step tells of it", "a second question is skipped for it, and a step tells of it",
        "a second question is put because of it", "a second question is not put because of it", "nor about items",
        "it is about another list, and a step tells of it", "the ways of a branch join again",
        "the branch takes another way that goes on", "the question of a way is not put",
        "somebody is asked on the other way", "the branch is skipped", "the branch takes it for another answer",
        "it names another question",
    ],
)  # fmt: skip
def test_what_cannot_be_undone_does_not_go_ahead_after_a_rejection(
    site: Site, tmp_path: Path, before: str, more: str, fan: str
) -> None:
    said = done(site, tmp_path, before + do("final", FINAL + more + fan), second=True, third=True)
    assert "final" not in said


@pytest.mark.parametrize(
    ("before", "more"),
    [
        (ask() + TELL + ask(SECOND), OVERRULED),
        (ask(), REFUSED),
        (ask() + branch("no", "final") + NO, ""),
        (ask() + branch("no", "final") + NO, "after: [approve], "),
    ],
    ids=["it says what both answers mean", "it names the question", "a branch takes it", "also right after it"],
)
def test_unless_it_decides_about_it_itself(site: Site, tmp_path: Path, before: str, more: str) -> None:
    assert "final" in done(site, tmp_path, before + do("final", FINAL + more), second=True)


@pytest.mark.parametrize("list_", ["", EACH, OTHERS])
def test_a_step_that_names_another_question_does_not_decide_about_this_one(
    site: Site, tmp_path: Path, list_: str
) -> None:
    """What comes after a step that does goes ahead where it can be undone."""
    source = ask(more=list_) + do("between", EACH if list_ == EACH else "") + ask(SECOND, "after: [], ")
    source += do("last", BOTH + 'when: "{{ steps.second }}", ') + do(
        "told", "after: [between], " + (ASKED if list_ else REFUSED)
    )
    source += do("later", "after: [told], ")
    assert done(site, tmp_path, source, second=True) == ["told", "later"]


@pytest.mark.parametrize("chosen", ["select", "selectattr('approved')", "present | map(attribute='approved') | select"])
@pytest.mark.parametrize("approved", [False, True])
def test_what_was_chosen_of_the_answers_is_false_when_it_is_nothing(
    site: Site, tmp_path: Path, chosen: str, approved: bool
) -> None:
    condition = f'when: "{{{{ (steps.approve | {chosen}) and true }}}}", '
    source = ask(more=EACH) + do("final", FINAL + condition)
    assert done(site, tmp_path, source, approve=approved) == (["final"] if approved else [])


@pytest.mark.parametrize(
    "condition",
    [
        "steps.approve",
        "not steps.approve",
        "steps.approve | present",
        "steps.approve | map(attribute='approved')",
        "steps.approve[:1] | list",
        "steps.approve | sort(attribute='by') | reverse | default([], true)",
        "inputs.names and steps.approve",
        "steps.approve or inputs.names",
        "true if steps.approve else true",
        "steps.approve and index == 0",
    ],
)
@pytest.mark.parametrize("fan", ["", f"{EACH}pack: 1, ", f"{EACH}pack: all, "])
def test_the_answers_about_all_items_are_never_true_and_never_false(
    site: Site, tmp_path: Path, fan: str, condition: str
) -> None:
    """Also of an automation that an earlier version accepted."""
    definition = site.definition(HEAD + ask(more=EACH) + do("final", fan))
    names = ("approve", *definition.step("final").references)
    said = {"when": f"{{{{ {condition} }}}}", "irreversible": True, "references": names, "when_references": names[:1]}
    steps = (definition.step("approve"), definition.step("final").model_copy(update=said))
    run = site.open(definition.model_copy(update={"steps": steps}), folder=str(tmp_path))
    for slot in range(site.expand(run, "approve")):
        site.approve(run, "approve", by="lead", approved=False, slot=slot)
    with suppress(PermanentError):
        site.all_of(run, "final")
    site.close(run)
    assert not (tmp_path / "done").exists()
    assert site.state(run).status == "failed"
    errors = [event.data["error"] for event in site.services.log.read(run) if event.type == "step.failed"]
    assert errors
    for error in errors:
        assert "as a whole it is neither true nor false" in error["message"]
        assert "steps.approve[index]" in error["remedy"]


@pytest.mark.parametrize("list_", ["steps.approve", "[{'sub': steps.approve}]"])
def test_they_are_a_list_that_is_fanned_out_over(site: Site, tmp_path: Path, list_: str) -> None:
    condition = 'when: "{{ item }}", ' if list_ == "steps.approve" else 'when: "{{ item.sub[index] }}", '
    source = ask(more=EACH) + do("final", f'{FINAL}each: "{{{{ {list_} }}}}", {condition}')
    assert done(site, tmp_path, source) == []


@pytest.mark.parametrize("fan", [f"{EACH}pack: 1, ", f"{EACH}pack: all, "])
def test_items_that_nobody_was_asked_about_for_a_rejection_are_told_of_it(site: Site, tmp_path: Path, fan: str) -> None:
    source = ask() + ask(SECOND, EACH) + do("tell", fan + REFUSED) + do("told", fan)
    assert done(site, tmp_path, source) == ["tell", "tell", "told", "told"]
