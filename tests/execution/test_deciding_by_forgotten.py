"""Whoever is forgotten while a run about them goes on: nothing is decided by what nobody can read any more."""

from __future__ import annotations

import pytest

from execution.test_forgotten_meanwhile import ABOUT, MARKER, SKILLS, officer, to_be_undone
from muster.language.expressions import ExpressionError
from support.runs import Site

pytestmark = pytest.mark.skills(people=SKILLS)
INPUTS = "{who: {type: string}, pay: {type: boolean}, mode: {default: dry}, note: {default: null}}"
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
]


def opened(site: Site, steps: str) -> str:
    return site.open(site.definition(ASKS + steps), who=MARKER, pay=False)


@pytest.mark.parametrize("condition", CONDITIONS)
def test_a_step_does_not_go_ahead_nor_stay_out_by_it(site: Site, condition: str) -> None:
    step = f'id: a, when: "{{{{ {condition} }}}}", skill: people.write, with: {{text: a, item: 1}}'
    run = opened(site, f"  - {{{step}}}\n")
    officer(site)
    assert site.step(run, "a").status == "failed"
    assert "ExpressionError" in str(site.state(run).step("a").whole.error), "the class is no word about them"


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
    assert not (site.services.workspace(run) / "7.txt").exists()


def test_nor_is_a_marker_written_in_the_place_of_what_was_inside(site: Site) -> None:
    run = opened(site, "  - {id: a, skill: people.write, with: {text: 'order {{ inputs.mode.id }}', item: 1}}\n")
    officer(site)
    assert site.step(run, "a").status == "failed"
