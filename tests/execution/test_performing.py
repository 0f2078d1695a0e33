"""Promises of performing steps: data between them, fan-outs, retries, fallbacks, once only."""

from __future__ import annotations

import asyncio
import re
import sys
import threading
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import MusterError
from muster.execution.performing import perform
from muster.execution.references import WorkRef
from support.runs import Site
from support.sources import source_of

SKILLS = source_of(__file__, "performing")
LETTERS = '''
import threading

from pydantic import BaseModel, model_validator

from muster.skills import skill

threads = set()
filed = []

class Letter(BaseModel):
    name: str

    @model_validator(mode="before")
    @classmethod
    def _seen(cls, given):
        if isinstance(given, dict):  # it comes from the log
            threads.add(threading.get_ident())
        return given

@skill("post.read", lane="async")
async def read(name: str) -> Letter:
    """Reads one."""
    return Letter.model_construct(name=name)

@skill("post.file", lane="async")
async def file(name: str) -> int:
    """Files one."""
    filed.append(name)
    return len(filed)
'''


@pytest.fixture
def site(tmp_path: Path, database: Database) -> Site:
    made = Site(tmp_path, database)
    made.skills("shop", SKILLS)
    calls().clear()
    return made


def calls() -> list[Any]:
    import sys

    module = sys.modules.get("muster_site.shop")
    return getattr(module, "calls", [])


def steps(text: str, more: str = "") -> str:
    return f"automation: tested\n{more}\nsteps:\n{text}"


def test_money_stays_decimal_between_steps(site: Site) -> None:
    definition = site.definition(
        steps("""
  - {id: one, skill: shop.price, with: {of: "abcde"}}
  - id: big
    when: "{{ steps.one.value > 1 }}"
    skill: shop.count
    with: {values: ["{{ steps.one.value }}", "{{ steps.one.value }}"]}
  - {id: small, when: "{{ steps.one.value < 1 }}", skill: shop.echo, with: {value: "x"}}
""")
    )
    state = site.state(site.run(definition))
    assert state.step("big").output == "2.50"
    assert state.step("small").status == "skipped"
    assert state.status == "succeeded"


@pytest.mark.parametrize("pack", ["", "pack: 2", "pack: all"])
def test_a_fan_out_keeps_positions_and_sets_bad_items_aside(site: Site, pack: str) -> None:
    definition = site.definition(
        steps(
            f"""
  - id: prices
    each: "{{{{ inputs.names }}}}"
    {pack}
    skill: shop.price
    with: {{of: "{{{{ item }}}}"}}
  - id: labels
    each: "{{{{ steps.prices }}}}"
    {pack}
    skill: shop.echo
    with: {{value: "{{{{ index }}}}-{{{{ item.label }}}}"}}
  - id: sum
    skill: shop.count
    with: {{values: "{{{{ steps.prices | present | map(attribute='value') | list }}}}"}}
""",
            "inputs: {names: {type: array, items: {type: string}}}",
        )
    )
    state = site.state(site.run(definition, names=["a", "broken", "ccc"]))
    assert [item and item["label"] for item in state.step("prices").output] == ["a", None, "ccc"]
    assert state.step("prices").items[1].findings[0]["rule"] == "T-1"
    assert state.step("labels").output == ["0-a", None, "2-ccc"]
    assert state.step("sum").output == "1.00"
    assert state.status == "succeeded"
    assert state.counts["set_aside"] == 1


def test_an_item_that_fails_leaves_the_others_but_fails_the_run(site: Site) -> None:
    definition = site.definition(
        steps("""
  - {id: prices, each: ["a", "crash", "ccc"], pack: all, skill: shop.price, with: {of: "{{ item }}"}}
  - {id: labels, each: "{{ steps.prices }}", pack: all, skill: shop.echo, with: {value: "{{ item.label }}"}}
""")
    )
    run = site.open(definition)
    assert site.step(run, "prices").status == "failed"
    assert site.step(run, "labels").status == "succeeded"
    closed = site.close(run)
    assert closed.status == "failed"
    assert "1 of 3 items of step prices failed" in (closed.reason or "")
    assert site.state(run).step("labels").output == ["a", None, "ccc"]


def test_a_step_that_failed_for_good_stops_what_comes_after_it(site: Site) -> None:
    definition = site.definition(
        steps("""
  - {id: first, skill: shop.refuse, retry: {times: 3, delay: 1s}}
  - {id: second, skill: shop.echo, with: {value: "x"}}
""")
    )
    run = site.open(definition)
    assert site.step(run, "first").status == "failed"
    assert calls() == ["refuse"], "a permanent error is not retried"
    assert site.step(run, "second").reason == "upstream_failed"
    assert site.close(run).status == "failed"


def test_retries_pass_with_every_attempt_in_the_log(site: Site) -> None:
    definition = site.definition(
        steps("  - {id: one, skill: shop.flaky, with: {fails: 2}, retry: {times: 2, delay: 0s, backoff: 1}}")
    )
    run = site.run(definition)
    events = [event.type for event in site.services.log.read(run)]
    assert events.count("step.retried") == 2
    assert site.state(run).step("one").output == 3


def test_retries_end_and_the_fallback_takes_over(site: Site) -> None:
    definition = site.definition(
        steps("""
  - id: one
    skill: shop.flaky
    with: {fails: 9}
    retry: {times: 1, delay: 0s}
    fallback: {skill: shop.echo, with: {value: "instead"}}
""")
    )
    work = site.state(site.run(definition)).step("one").whole
    assert (work.output, work.fallback) == ("instead", True)


def test_a_step_past_its_timeout_fails(site: Site) -> None:
    definition = site.definition(steps("  - {id: one, skill: shop.slow, timeout: 1s}"))
    run = site.open(definition)
    outcome = site.step(run, "one")
    assert outcome.status == "failed"
    assert "timeout of 1 s" in (outcome.reason or "")


@pytest.mark.parametrize("each", ["", "each: [a, b], ", "each: [a, b], pack: 2, ", "each: [a, b], pack: all, "])
@pytest.mark.parametrize("skill", ["shop.unanswered", "shop.aunanswered"])
def test_a_timeout_of_a_skills_own_is_not_said_to_be_the_steps(site: Site, skill: str, each: str) -> None:
    last = "{id: last, skill: shop.refuse}"
    undo = f"compensate: {{skill: {skill}, timeout: 1h, retry: {{times: 0}}}}"
    one = f"{{id: one, {each}skill: {skill}, timeout: 1h, retry: {{times: 0}}}}"
    run = site.run(site.definition(steps(f"  - {one}")))
    errors = [event.data["error"] for event in site.services.log.read(run) if event.type == "step.failed"]
    run = site.open(
        site.definition(steps(f"  - {{id: one, skill: shop.echo, with: {{value: a}}, {undo}}}\n  - {last}"))
    )
    site.step(run, "one")
    site.step(run, "last")
    site.unwind(run)
    errors += [event.data["error"] for event in site.services.log.read(run) if event.type == "compensation.failed"]
    assert len(errors) == (3 if each else 2)
    assert {(error["class"], error["message"]) for error in errors} == {("TimeoutError", "the bank did not answer")}


LEAVING = source_of(__file__, "performing_leaving")


@pytest.mark.parametrize("skill", ["leave", "aleave"])
@pytest.mark.parametrize("code", [0, 3])
def test_a_skill_that_wants_to_end_the_process_fails_alone(site: Site, skill: str, code: int) -> None:
    """Beside the work of other runs, as in the triggerer, where each trigger is a task of one event loop."""
    site.skills("exit", LEAVING)
    run = site.open(site.definition(steps(f"  - {{id: one, skill: exit.{skill}, with: {{code: {code}}}}}\n")))
    other = site.open(site.definition(steps("  - {id: one, skill: exit.fine}\n")))

    async def triggerer() -> list[str]:
        own, its = (
            asyncio.create_task(perform(site.services, WorkRef(run=each, step="one", slot=None)))
            for each in (run, other)
        )
        await asyncio.wait([own, its])
        await asyncio.sleep(0.1)
        return [own.result().status, its.result().status]

    assert site.do(triggerer()) == ["failed", "succeeded"]
    error = next(event.data["error"] for event in site.services.log.read(run) if event.type == "step.failed")
    assert error["message"] == f"The skill exit.{skill} called sys.exit({code}), which ends nothing here."
    assert "step.retried" not in [event.type for event in site.services.log.read(run)]


@pytest.mark.parametrize("skill", ["leave", "aleave"])
def test_so_does_a_compensation(site: Site, skill: str) -> None:
    site.skills("exit", LEAVING)
    undo = f"compensate: {{skill: exit.{skill}, with: {{code: 0}}, retry: {{times: 1, delay: 0s}}}}"
    source = f"  - {{id: one, skill: exit.fine, {undo}}}\n  - {{id: two, skill: shop.refuse}}\n"
    run = site.open(site.definition(steps(source)))
    site.step(run, "one")
    site.step(run, "two")
    site.unwind(run)
    site.close(run)
    assert site.state(run).status == "stuck"


def test_so_does_a_skill_file(site: Site) -> None:
    site.skills("exit", LEAVING)
    run = site.open(site.definition(steps("  - {id: one, skill: exit.fine}\n")))
    site.skills("exit", LEAVING + "\n\nsys.exit()\n")
    assert site.step(run, "one").status == "failed"


def test_the_same_work_performed_again_does_nothing_twice(site: Site) -> None:
    definition = site.definition(
        steps("""
  - {id: one, skill: shop.echo, with: {value: "x"}}
  - {id: many, each: ["a", "b"], skill: shop.echo, with: {value: "{{ item }}"}}
""")
    )
    run = site.open(definition)
    one = site.step(run, "one")
    assert site.expand(run, "many") == site.expand(run, "many") == 2
    first = [one, site.step(run, "many", 0), site.step(run, "many", 1)]
    again = [site.step(run, "one", attempt=2), site.step(run, "many", 0), site.step(run, "many", 1)]
    assert first == again
    assert calls() == ["x", "a", "b"]


def test_work_is_done_again_when_a_person_has_cleared_the_run(site: Site) -> None:
    definition = site.definition(steps('  - {id: one, skill: shop.echo, with: {value: "x"}}'))
    run = site.open(definition)
    site.step(run, "one")
    site.step(run, "one", epoch=1)
    assert calls() == ["x", "x"]


def test_a_branch_takes_one_way_and_the_ways_join_again(site: Site) -> None:
    definition = site.definition(
        steps(
            """
  - id: choose
    branch:
      - {when: "{{ inputs.n > 5 }}", to: [high]}
      - {to: [low]}
  - {id: high, skill: shop.echo, with: {value: "high"}}
  - {id: low, skill: shop.echo, with: {value: "low"}}
  - {id: after_high, after: [high], skill: shop.echo, with: {value: "more"}}
  - {id: joined, after: [high, low], skill: shop.echo, with: {value: "joined"}}
""",
            "inputs: {n: {type: integer}}",
        )
    )
    state = site.state(site.run(definition, n=3))
    assert {name: state.step(name).status for name in ("high", "low", "after_high", "joined")} == {
        "high": "skipped",
        "low": "succeeded",
        "after_high": "skipped",
        "joined": "succeeded",
    }
    assert state.status == "succeeded"


def test_inputs_that_do_not_fit_fail_the_run_and_say_why(site: Site) -> None:
    definition = site.definition(
        steps('  - {id: one, skill: shop.echo, with: {value: "{{ inputs.n }}"}}', "inputs: {n: {type: integer}}")
    )
    with pytest.raises(MusterError, match="n: 'x' is not of type 'integer'"):
        site.open(definition, n="x")


def test_a_run_keeps_the_definition_it_started_with(site: Site) -> None:
    definition = site.definition(steps('  - {id: one, skill: shop.echo, with: {value: "old"}}'))
    run = site.open(definition)
    site.definition(steps('  - {id: one, skill: shop.echo, with: {value: "new"}}'))
    site.step(run, "one")
    assert site.state(run).step("one").output == "old"


def test_a_step_that_died_silently_fails_the_run(site: Site) -> None:
    definition = site.definition(steps('  - {id: one, skill: shop.echo, with: {value: "x"}}'))
    run = site.open(definition)
    closed = site.close(run, {"open": "success", "one": "failed"})
    assert (closed.status, closed.reason) == ("failed", "step one stopped without an outcome")


def test_a_task_that_airflow_failed_after_its_outcome_matters_only_when_something_was_left_undone(site: Site) -> None:
    two = '  - {id: one, skill: shop.echo, with: {value: "x"}}\n  - {id: two, skill: shop.echo, with: {value: "y"}}'
    definition = site.definition(steps(two))
    run = site.open(definition)
    site.step(run, "one")
    red = {"one": "failed", "two": "upstream_failed"}
    assert site.close(run, red).reason == "step one stopped after its outcome"
    again = site.run(definition)
    site.close(again, {"one": "failed"})
    assert site.state(again).status == "succeeded"


def test_an_unopened_run_is_refused_clearly(site: Site) -> None:
    with pytest.raises(MusterError, match="never opened"):
        site.step("tested/nothing", "one")


def test_a_fan_out_is_complete_when_its_last_item_has_ended(site: Site) -> None:
    definition = site.definition(
        steps("""
  - id: many
    each: ["a", "b", "c"]
    when: "{{ item != 'b' }}"
    skill: shop.echo
    with: {value: "{{ item }}"}
""")
    )
    run = site.open(definition)
    assert site.expand(run, "many") == 2
    site.step(run, "many", 0)
    assert "step.completed" not in [event.type for event in site.services.log.read(run)]
    site.step(run, "many", 1)
    (completed,) = (event for event in site.services.log.read(run) if event.type == "step.completed")
    assert completed.data["counts"]["succeeded"] == 2
    assert site.state(run).step("many").status == "succeeded"


def test_a_run_in_which_everything_was_set_aside_goes_on_to_its_report_and_ends_failed(site: Site) -> None:
    definition = site.definition(
        steps("""
  - {id: prices, each: ["broken", "broken"], pack: all, skill: shop.price, with: {of: "{{ item }}"}}
  - {id: report, skill: shop.echo, with: {value: "{{ steps.prices | present | length }} left"}}
""")
    )
    state = site.state(site.run(definition))
    assert state.step("report").output == "0 left"
    assert (state.status, state.reason) == ("failed", "every item of step prices was set aside")


def test_an_edited_site_skill_is_used_without_a_restart(site: Site) -> None:
    definition = site.definition(steps('  - {id: one, skill: shop.echo, with: {value: "x"}}'))
    assert site.state(site.run(definition)).step("one").output == "x"
    site.skills("shop", SKILLS.replace("return value", "return value.upper()"))
    assert site.state(site.run(definition)).step("one").output == "X"


@pytest.mark.parametrize(
    "step",
    [
        '{id: one, each: "{{ inputs.n }}", skill: shop.echo, with: {value: x}}',
        '{id: one, each: "{{ inputs.n }}", pack: all, skill: shop.echo, with: {value: x}}',
        '{id: one, when: "{{ inputs.n.missing > 1 }}", skill: shop.echo, with: {value: x}}',
        '{id: one, when: "{{ inputs.n.missing > 1 }}", human: {ask: x, assignees: [lead]}}',
    ],
)
def test_an_expression_that_cannot_be_evaluated_fails_its_step_and_says_so(site: Site, step: str) -> None:
    from muster.errors import PermanentError
    from muster.execution.performing import begin
    from muster.execution.references import WorkRef

    definition = site.definition(
        steps(f"  - {step}\n  - {{id: two, skill: shop.echo, with: {{value: y}}}}", "inputs: {n: {}}")
    )
    run = site.open(definition, n=3)
    if definition.steps[0].kind == "human":
        assert site.do(begin(site.services, WorkRef(run=run, step="one"))).status == "failed"
    elif definition.steps[0].pack is None and definition.steps[0].each is not None:
        with pytest.raises(PermanentError):
            site.expand(run, "one")
    else:
        assert site.step(run, "one").status == "failed"
    assert site.step(run, "two").reason == "upstream_failed"
    assert (site.close(run).reason or "").startswith("step one failed: ")


def test_a_fan_out_over_nothing_is_complete_at_once(site: Site) -> None:
    definition = site.definition(
        steps(
            '  - {id: many, each: "{{ inputs.names }}", skill: shop.echo, with: {value: "{{ item }}"}}',
            "inputs: {names: {type: array, items: {type: string}, default: []}}",
        )
    )
    state = site.state(site.run(definition))
    assert (state.step("many").status, state.status) == ("skipped", "succeeded")


@pytest.mark.parametrize("text", ["", "false", "no", "yes", "x"])
@pytest.mark.parametrize(
    "step",
    [
        '{id: one, when: "{{ inputs.text }}", skill: shop.echo, with: {value: x}}',
        '{id: one, when: "{{ inputs.n > 1 and inputs.text }}", skill: shop.echo, with: {value: x}}',
        '{id: one, when: "{{ inputs.text }}", human: {ask: x, assignees: [lead]}}',
        '{id: one, when: "{{ inputs.text }}", each: [1, 2], pack: all, skill: shop.echo, with: {value: x}}',
        '{id: one, when: "{{ item }}", each: ["{{ inputs.text }}"], pack: all, skill: shop.echo, with: {value: x}}',
        '{id: one, branch: [{when: "{{ inputs.text }}", to: [two]}, {to: []}]}',
    ],
)
def test_a_condition_that_gives_text_fails_its_step_and_is_never_true(site: Site, step: str, text: str) -> None:
    inputs = "inputs: {n: {type: integer}, text: {}}"
    definition = site.definition(
        steps(f"  - {step}\n  - {{id: two, skill: shop.echo, with: {{value: y}}}}", inputs),
    )
    run = site.open(definition, n=3, text=text)
    outcome = site.step(run, "one")
    assert outcome.status == "failed"
    assert "text, which is neither true nor false" in outcome.reason
    assert site.state(run).step("one").status == "failed"


@pytest.mark.parametrize(
    "condition",
    [
        *("inputs.s and inputs.n > 2", "inputs.n > 5 or inputs.s", "not inputs.s", "not (inputs.n and inputs.s)"),
        *("inputs.n > 2 if inputs.s else false", "(inputs.s and inputs.n > 2) if inputs.n else false"),
        *("inputs.n > 5 or (inputs.n > 2 if inputs.n and inputs.s)",),
        *("(inputs.s if inputs.n else false) and inputs.n > 2", "not (inputs.s if inputs.n else false)"),
        *("not (false if not inputs.n else inputs.s)", "true if (inputs.s if inputs.n else false) else false"),
        *("(inputs.s and inputs.n > 2) == true", "(inputs.s and inputs.n > 2) | default(false)"),
        *("(1 if inputs.s else 0) > 0", "(not inputs.s) == false", "(inputs.n > 5 or (inputs.s and true)) == true"),
        *("{'a': inputs.s and inputs.n}.a", "[1, 2][1 if inputs.s else 0] == 2"),
        *("(inputs.s and true or 1) == 1", "not (inputs.s or inputs.n)", "(inputs.s or inputs.n) and inputs.n"),
        *("inputs.n is eq(3 if inputs.s else 4)", "[inputs.n] | map('default', not inputs.s) | list | length == 1"),
    ],
)
def test_so_does_one_with_text_as_an_operand(site: Site, condition: str) -> None:
    one = f'{{id: one, when: "{{{{ {condition} }}}}", skill: shop.echo, with: {{value: x}}}}'
    run = site.open(site.definition(steps(f"  - {one}", "inputs: {n: {type: integer}, s: {}}")), n=3, s="false")
    outcome = site.step(run, "one")
    assert outcome.status == "failed"
    assert (
        f"step one, when: `{{{{ {condition} }}}}`: `inputs.s` is text, which is neither true nor false"
        in outcome.reason
    )
    assert "Compare it, for example `inputs.s ==" in str(site.state(run).step("one").whole.error)


@pytest.mark.parametrize(
    "condition",
    [
        *("inputs.n < 3 and inputs.s", "(inputs.n and inputs.s) == 'none'", "inputs.s == 'true' or not inputs.n"),
        *(
            "(inputs.s or 'none') == 'none'",
            "[inputs.s or 'none'] | first == 'none'",
            "false == (inputs.s or inputs.n)",
        ),
        *("(inputs.s | default('none', true)) == 'none'", "[inputs.s] | select('eq', 'true') | list | length > 0"),
        "[{'s': inputs.s}] | selectattr('s', 'eq', 'true') | length > 0",
    ],
)
def test_text_that_is_compared_or_not_asked_for_is_no_mistake(site: Site, condition: str) -> None:
    one = f'{{id: one, when: "{{{{ {condition} }}}}", skill: shop.echo, with: {{value: x}}}}'
    run = site.open(site.definition(steps(f"  - {one}", "inputs: {n: {type: integer}, s: {}}")), n=3, s="false")
    assert site.step(run, "one").status == "skipped"


@pytest.mark.parametrize(("text", "items"), [("", []), ("x", ["x"]), ("false", ["false"])])
@pytest.mark.parametrize("each", ["[inputs.s] if inputs.s else []", "[inputs.s] | select | list"])
def test_outside_of_a_condition_text_is_true_unless_it_is_empty(
    site: Site, each: str, text: str, items: list[str]
) -> None:
    many = f'{{id: many, each: "{{{{ {each} }}}}", skill: shop.echo, with: {{value: "{{{{ item }}}}"}}}}'
    said = "skill: shop.echo, with: {value: \"{{ inputs.s if inputs.s else 'none' }}\"}"
    one = f"{{id: one, {said}}}"
    state = site.state(site.run(site.definition(steps(f"  - {many}\n  - {one}", "inputs: {s: {}}")), s=text))
    assert (state.step("many").output or []) == items
    assert state.step("one").output == (text or "none")


@pytest.mark.parametrize(
    "condition",
    [
        "[inputs.s] | select | length > 0",
        "[inputs.s] | reject | list == []",
        "[{'s': inputs.s}] | selectattr('s') | length > 0",
        "[{'s': {'s': inputs.s}}] | rejectattr('s.s') | length == 0",
        "[[inputs.s]] | map('select') | first | length > 0",
        "not [[{'s': inputs.s}]] | map('rejectattr', 's') | first",
        "[[[inputs.s]]] | map('map', 'select') | first | first | length > 0",
    ],
)
def test_so_does_one_that_picks_items_by_the_truth_of_text(site: Site, condition: str) -> None:
    one = f'{{id: one, when: "{{{{ {condition} }}}}", skill: shop.echo, with: {{value: x}}}}'
    run = site.open(site.definition(steps(f"  - {one}", "inputs: {n: {type: integer}, s: {}}")), n=3, s="false")
    outcome = site.step(run, "one")
    assert outcome.status == "failed"
    assert "asks whether text is true, which is neither true nor false" in outcome.reason
    for filter_name, key in re.findall("(select|reject)(attr)?", condition):
        remedy = f"""`{filter_name}{key}({'"key", ' if key else ""}"eq", "yes")`"""
        assert remedy in str(site.state(run).step("one").whole.error)


@pytest.mark.parametrize(
    ("condition", "status"),
    [
        ("[inputs.n, 0, none] | select | list == [3]", "succeeded"),
        ("[inputs.n, 0] | reject | list == [3]", "skipped"),
        ("[{'n': inputs.n}] | selectattr('n') | length > 0", "succeeded"),
        ("[[inputs.n, 0]] | map('select') | first | length == 1", "succeeded"),
    ],
)
def test_what_is_no_text_is_picked_by_its_truth(site: Site, condition: str, status: str) -> None:
    one = f'{{id: one, when: "{{{{ {condition} }}}}", skill: shop.echo, with: {{value: x}}}}'
    run = site.open(site.definition(steps(f"  - {one}", "inputs: {n: {type: integer}}")), n=3)
    assert site.step(run, "one").status == status


def test_a_condition_that_gives_text_lays_out_no_fan_out(site: Site) -> None:
    from muster.errors import PermanentError

    one = '{id: one, each: [a, "no"], when: "{{ item }}", skill: shop.echo, with: {value: x}}'
    run = site.open(site.definition(steps(f"  - {one}")))
    with pytest.raises(PermanentError, match="neither true nor false"):
        site.expand(run, "one")
    assert site.state(run).step("one").status == "failed"


def test_of_a_skill_that_crashes_the_log_shows_its_own_frames_and_no_others(
    site: Site, caplog: pytest.LogCaptureFixture
) -> None:
    site.run(site.definition(steps("  - {id: one, skill: shop.price, with: {of: crash}}")))
    [record] = [each for each in caplog.records if each.name == "muster.skills.calling"]
    said = record.getMessage()
    assert said.startswith("The skill shop.price failed.\nTraceback")
    assert "RuntimeError: it crashed" in said
    assert re.findall(r'File ".*/(\w+\.py)", line \d+, in (\w+)', said) == [("shop.py", "price")]
    caplog.clear()
    site.run(site.definition(steps("  - {id: one, skill: shop.refuse}")))
    assert not [each for each in caplog.records if each.name == "muster.skills.calling"], "an error in words of its own"


def test_a_list_is_read_and_worked_out_beside_the_event_loop(site: Site) -> None:
    site.skills("post", LETTERS)
    definition = site.definition(
        steps("""
  - {id: read, each: [a, b], pack: all, skill: post.read, with: {name: "{{ item }}"}}
  - {id: file, each: "{{ steps.read }}", skill: post.file, with: {name: "{{ item.name }}"}}
""")
    )
    state = site.state(site.run(definition))
    assert [state.step("file").items[index].output for index in (0, 1)] == [1, 2]

    module = sys.modules["muster_site.post"]
    assert module.threads
    assert threading.get_ident() not in module.threads
