"""Whoever is forgotten while a run about them goes on: nothing is decided by what nobody can read any more."""

from __future__ import annotations

from pathlib import Path

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS, officer, to_be_undone
from muster.database import Database
from muster.language.expression_errors import ExpressionError
from support.children import Family
from support.runs import Site

TYPED = '''
from pydantic import BaseModel

class Checked(BaseModel):
    fine: bool = False

class Read(BaseModel):
    sender: Checked
    total: int

@skill("people.check")
def check() -> Checked:
    """Look at somebody."""
    return Checked(fine=True)

@skill("people.read")
def read() -> Read:
    """Read a letter of theirs."""
    return Read(sender=Checked(fine=True), total=3)
'''
pytestmark = pytest.mark.skills(people=SKILLS + TYPED)
INPUTS = (
    "{who: {type: string}, pay: {type: boolean}, mode: {default: dry}, note: {default: null},"
    " orders: {type: array, default: [a, b]}}"
)
ASKS = ABOUT.replace("{who: {type: string}}", INPUTS)
CONDITIONS = [
    "inputs.pay",
    "not inputs.pay",
    "inputs.pay is true",
    "inputs.pay and true",
    "1 if inputs.pay else 0",
    "inputs.mode != 'dry'",
    "'dry' == inputs.mode",
    "inputs.mode in ['dry', 1.5]",
    "'d' in inputs.mode",
    "inputs.mode.kind | default('dry') == 'dry'",
    "inputs.mode | upper == 'DRY'",
    "inputs.mode | float > 1",
    "[inputs.pay] | select | length > 0",
    "{'dry': false}[inputs.mode] | default(true)",
    "[false][inputs.mode] | default(true)",
    "{'dry': 1}[inputs.mode] is defined",
    "('' ~ inputs.mode) != 'dry'",
    "{'dry': false}['' ~ inputs.mode] | default(true)",
    "('' ~ [inputs.mode]) | length > 0",
    "([inputs.mode] | join(',')) != 'dry'",
    "'dry' not in ([inputs.mode] | map('string') | join)",
    "['a', 'b'] | join(inputs.mode) != 'a'",
    "{'mode': inputs.mode} | tojson != 'x'",
    "inputs | string | length > 7",
]


def opened(site: Site, steps: str) -> str:
    return site.open(site.definition(ASKS + steps), who=MARKER, pay=False)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_step_does_not_go_ahead_nor_stay_out_by_it(site: Site, condition: str) -> None:
    step = f'id: a, when: "{{{{ {condition} }}}}", skill: people.write, with: {{text: a, item: 1}}'
    run = opened(site, f"  - {{{step}}}\n")
    officer(site)
    assert site.step(run, "a").status == "failed"
    assert "NeedsForgotten" in str(site.state(run).step("a").whole.error), "the class is no word about them"


def test_nor_an_item_nor_a_way(site: Site) -> None:
    run = opened(
        site,
        "  - {id: a, each: '{{ [inputs.pay] }}', when: '{{ item }}', skill: people.write, with: {text: a, item: 1}}\n"
        "  - {id: way, after: [], branch: [{when: '{{ inputs.pay }}', to: b}, {to: c}]}\n"
        "  - {id: b, after: [way], skill: people.write, with: {text: b, item: 2}}\n"
        "  - {id: c, after: [way], skill: people.write, with: {text: c, item: 3}}\n",
    )
    officer(site)
    with pytest.raises(ExpressionError, match="was forgotten"):
        site.expand(run, "a")
    assert site.state(run).step("a").status == "failed"
    assert [site.step(run, step).status for step in ("way", "b", "c")] == ["failed", "skipped", "skipped"]


def test_what_was_null_or_says_nothing_of_them_is_still_asked(site: Site) -> None:
    run = opened(
        site,
        "  - {id: a, when: '{{ inputs.note is none and inputs.pay is not none }}', skill: people.write,\n"
        "     with: {text: \"{{ inputs.mode | upper }} {{ inputs.note or 'none' }}\", item: 1}}\n",
    )
    officer(site)
    assert site.step(run, "a").status == "succeeded", "it is passed on as it is"


@pytest.mark.parametrize(
    "text", ["order {{ steps.write.id }}", "order {{ output.id }}", "{{ 'a' if output else 'b' }}"]
)
def test_nothing_is_undone_by_a_marker_in_the_place_of_what_was_forgotten(site: Site, text: str) -> None:
    run = to_be_undone(site, f'{{skill: people.write, with: {{text: "{text}", item: 7}}, retry: {{times: 0}}}}')
    officer(site)
    assert site.unwind(run, {"work": "failed"}) == "failed", "people are told that it stands"
    (told,) = site.services.notices.outbox.entries(run=run)
    assert "was forgotten" in told.text, "and why, which no log can tell them any more"
    assert not (site.services.workspace(run) / "7.txt").exists()


@pytest.mark.parametrize("lock", ["{{ inputs.mode }}", "order {{ inputs.mode }}", "order {{ [inputs.mode] }}"])
def test_nothing_is_done_or_undone_under_another_lock_than_the_one_that_was_forgotten(site: Site, lock: str) -> None:
    undo = "{skill: people.write, with: {text: undone, item: 7}, retry: {times: 0}}"
    run = opened(
        site,
        f"  - {{id: write, lock: ['{lock}'], skill: people.write, with: {{text: a, item: 1}}, compensate: {undo}}}\n"
        f"  - {{id: more, lock: ['{lock}'], skill: people.write, with: {{text: b, item: 2}}, retry: {{times: 0}}}}\n",
    )
    assert site.step(run, "write").status == "succeeded"
    officer(site)
    assert site.step(run, "more").status == "failed"
    assert site.unwind(run, {"more": "failed"}) == "failed", "people are told that it stands"
    assert not list(site.services.workspace(run).glob("*.txt"))


def test_nor_is_a_marker_written_in_the_place_of_what_was_inside(site: Site) -> None:
    run = opened(site, "  - {id: a, skill: people.write, with: {text: 'order {{ inputs.mode.id }}', item: 1}}\n")
    officer(site)
    assert site.step(run, "a").status == "failed"


@pytest.mark.parametrize("condition", ["not steps.check.fine", "steps.check", "not steps.read.sender.fine"])
def test_no_type_makes_data_of_what_was_forgotten(site: Site, condition: str) -> None:
    about = ASKS.replace('who }}"}', 'who }}", impersonal: [read], fields: [steps.read.output.sender]}')
    run = site.open(
        site.definition(
            f"{about}  - {{id: check, skill: people.check}}\n  - {{id: read, skill: people.read}}\n"
            f'  - {{id: a, when: "{{{{ {condition} }}}}", skill: people.write, with: {{text: a, item: 1}}}}\n'
            "  - {id: b, after: [check, read], when: '{{ steps.read.total == 3 }}', skill: people.write,\n"
            "     with: {text: 'x {{ steps.check }}', item: 2}}\n"
        ),
        who=MARKER,
        pay=False,
    )
    site.step(run, "check")
    site.step(run, "read")
    officer(site)
    assert site.step(run, "a").status == "failed"
    assert site.step(run, "b").status == "succeeded", "what is not about them is still read, and the rest passed on"
    assert "forgotten" in (site.services.workspace(run) / "2.txt").read_text()


SHAPES = ["", ", pack: 2", ", pack: all"]


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("text", ["order {{ item }}", "{{ item }}", "order {{ output }}", "order {{ inputs.mode }}"])
def test_nor_is_an_item_undone_by_nothing_in_its_place(site: Site, text: str, shape: str) -> None:
    undo = f"{{skill: people.write, with: {{text: '{text}', item: 7}}, retry: {{times: 0}}}}"
    run = opened(
        site,
        f"  - {{id: write, each: '{{{{ inputs.orders }}}}'{shape}, skill: people.write,\n"
        f"     with: {{text: '{{{{ item }}}}', item: '{{{{ index }}}}'}}, compensate: {undo}}}\n"
        "  - {id: work, after: [write], skill: people.fail, retry: {times: 0}}\n",
    )
    site.all_of(run, "write")
    site.step(run, "work")
    officer(site)
    assert site.unwind(run, {"work": "failed"}) == "failed"
    assert not (site.services.workspace(run) / "7.txt").exists()
    undoings = [work.undoing for work in site.state(run).step("write").works]
    assert "NeedsForgotten" in str(undoings)


@pytest.mark.parametrize("shape", SHAPES)
def test_an_item_that_needs_nothing_forgotten_is_undone(site: Site, shape: str) -> None:
    undo = "{skill: people.write, with: {text: undone, item: '{{ index + 7 }}'}}"
    run = opened(
        site,
        f"  - {{id: write, each: '{{{{ inputs.orders }}}}'{shape}, skill: people.write,\n"
        f"     with: {{text: '{{{{ item }}}}', item: '{{{{ index }}}}'}}, compensate: {undo}}}\n"
        "  - {id: work, after: [write], skill: people.fail, retry: {times: 0}}\n",
    )
    site.all_of(run, "write")
    site.step(run, "work")
    officer(site)
    assert site.unwind(run, {"work": "failed"}) == "succeeded"
    assert {path.name for path in site.services.workspace(run).iterdir()} == {"7.txt", "8.txt"}


def family(tmp_path: Path, database: Database, *, child: str = "true", parent: str = "true") -> Family:
    automations = {
        "parent": ABOUT.partition("\n")[2]
        + "  - {id: child, run: child, timeout: 1h}\n"
        + f'  - {{id: a, when: "{{{{ {parent} }}}}", skill: people.write, with: {{text: a, item: 3}}}}\n',
        "child": "inputs: {note: {default: null}}\nsteps:\n  - {id: check, skill: people.check}\n"
        f'  - {{id: a, when: "{{{{ {child} }}}}", skill: people.write, with: {{text: a, item: 2}}}}\n',
    }
    return Family(tmp_path, database, automations, skills={"people": SKILLS + TYPED})


@pytest.mark.parametrize(
    "condition",
    ["steps.child.outputs", "steps.child.outputs.check.fine | default(true)", "steps.child.outputs.check is defined"],
)
def test_what_another_run_gave_back_decides_nothing(tmp_path: Path, database: Database, condition: str) -> None:
    runs = family(tmp_path, database, parent=condition)
    run = runs.open("parent", who=MARKER)
    runs.child(run, "child")
    officer(runs.site)
    assert runs.site.step(run, "a").status == "failed"


@pytest.mark.parametrize("condition", ["steps.check", "steps.check.fine | default(true)", "not steps.check.fine"])
def test_nor_does_anything_in_a_run_that_was_asked_for_and_given_nothing(
    tmp_path: Path, database: Database, condition: str
) -> None:
    runs = family(tmp_path, database, child=condition)
    child = runs.begin(runs.ask(runs.open("parent", who=MARKER), "child"))
    runs.site.step(child, "check")
    officer(runs.site)
    assert runs.site.step(child, "a").status == "failed"
