"""A rehearsal finds what is wrong with an automation, and is content with one that is right."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.language import LanguageError, load_folder
from muster.language.explain import validate
from muster.language.source import parse_source
from muster.rehearsal.scenarios import Rehearsal
from muster.rehearsal.script import Script
from muster.rehearsal.stage import Stage
from muster.saga import unwinding
from support.bank import BankServer
from support.sources import source_of

SKILLS = source_of(__file__, "scenarios")
AUTOMATION = """automation: paying
steps:
  - id: pay
    skill: bank.pay
    with: {once: %s}
    compensate: {skill: bank.refund, with: {once: %s, asks: %s}}
  - {id: agree, human: {ask: Well?, assignees: [boss]}}
  - {id: look, skill: bank.look}
  - {id: tell, notify: [{slack: "#bank", text: Paid}]}
"""
SCRIPT = b"""automation: paying
witness: [{skill: bank.balance}]
cases:
  - name: paid
    expect: {steps: {look: succeeded}, hold: ["{{ steps.look == 'fine' }}"]}
  - name: refused
    answers: {agree: reject}
    expect: {steps: {look: skipped}}
"""


def rehearse(
    folder: Path, server: str, bank: BankServer, automation: str, script: bytes = SCRIPT, only: Sequence[str] = ()
) -> dict[str, list[str]]:
    """What is wrong, by scenario: all of them, or `only` some."""
    for name in ("automations", "skills"):
        (folder / name).mkdir()
    (folder / "skills" / "bank.py").write_text(SKILLS.replace("BANK", bank.url))
    (folder / "automations" / "paying.yaml").write_text(automation)
    (folder / "automations" / "paying.test.yaml").write_bytes(script)
    catalogue = load_folder(folder)
    assert not catalogue.problems, catalogue.problems

    async def judged() -> dict[str, list[str]]:
        stage = Stage(server, folder / "files", folder / "skills")
        try:
            script_ = validate(Script, parse_source(script))
            await stage.prepare(script_, {})
            scenarios = await Rehearsal(catalogue.definitions["paying"], script_, stage).scenarios()
            return {
                scenario.name: await scenario.judge() for scenario in scenarios if not only or scenario.name in only
            }
        finally:
            await stage.leave()
            stage.close()

    return asyncio.run(judged())


def test_an_automation_that_is_right_holds_in_every_scenario(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    judged = rehearse(tmp_path, postgres, bank, AUTOMATION % ("true", "true", "true"))
    assert {name: said for name, said in judged.items() if said} == {}
    assert {"paid", "refused", "pay fails", "look fails after its work was done"} <= judged.keys()
    assert {"every action happens twice", "every compensation happens twice"} <= judged.keys()
    assert "the compensation of pay fails, and the run is resumed" in judged
    assert "a crash before append 1" in judged
    assert "a crash after append 9 of an undone run" in judged


IRREVERSIBLE = AUTOMATION.replace(
    "  - {id: look,", "  - {id: send, skill: bank.send, irreversible: true}\n  - {id: look,"
)


def test_a_run_that_did_what_nothing_can_undo_must_be_stuck_and_undoes_the_rest_once_people_have_acted(
    tmp_path: Path, postgres: str, bank: BankServer
) -> None:
    script = SCRIPT.replace(b"}]", b"}, {skill: bank.letters}]", 1)
    judged = rehearse(tmp_path, postgres, bank, IRREVERSIBLE % ("true", "true", "true"), script)
    assert {name: said for name, said in judged.items() if said} == {}
    assert "the compensation of pay fails, and the run is resumed" in judged
    assert "every compensation happens twice" in judged
    assert any(name.endswith("of an undone run") for name in judged)


def test_an_undone_run_that_counts_what_nothing_can_undo_as_undone_is_found(
    tmp_path: Path, postgres: str, bank: BankServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def nothing(*_: object) -> None:
        return None

    monkeypatch.setattr(unwinding, "_irreversible_work", nothing)
    names = ["look fails after its work was done", "every compensation happens twice"]
    judged = rehearse(tmp_path, postgres, bank, IRREVERSIBLE % ("true", "true", "true"), only=names)
    assert judged[names[0]] == ["it counts as undone, and send cannot be"]
    assert "not stuck" in judged[names[1]][0]


@pytest.mark.parametrize(
    ("once", "undone_once", "asks", "found"),
    [
        ("false", "true", "true", "every action happens twice"),
        ("true", "false", "true", "every compensation happens twice"),
        ("true", "true", "false", "pay fails"),
    ],
)
def test_what_happens_twice_or_never_happened_is_found(
    tmp_path: Path, postgres: str, bank: BankServer, once: str, undone_once: str, asks: str, found: str
) -> None:
    judged = rehearse(tmp_path, postgres, bank, AUTOMATION % (once, undone_once, asks), only=[found])
    assert judged[found][0].startswith("bank.balance ")


def test_a_case_that_comes_to_another_end_is_found(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    script = SCRIPT.replace(b"'fine'", b"'bad'").replace(b"{look: skipped}", b"{look: succeeded}")
    judged = rehearse(tmp_path, postgres, bank, AUTOMATION % ("true", "true", "true"), script, ["paid", "refused"])
    assert judged["paid"] == ["{{ steps.look == 'bad' }} does not hold"]
    assert judged["refused"] == ["step look is skipped, not succeeded"]


def test_a_step_with_a_mock_is_not_performed(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    script = SCRIPT.replace(b"name: paid\n", b"name: paid\n    mocks: {pay: {output: later}, look: {output: fine}}\n")
    judged = rehearse(
        tmp_path, postgres, bank, AUTOMATION % ("true", "true", "true"), script, ["paid", "every action happens twice"]
    )
    assert {name: said for name, said in judged.items() if said} == {}


def test_a_mistake_in_a_script_is_located() -> None:
    with pytest.raises(LanguageError) as caught:
        validate(Script, parse_source(SCRIPT.replace(b"answers:", b"anwsers:"), "paying.test.yaml"))
    assert "paying.test.yaml:7:5: unknown key `anwsers`" in str(caught.value)


def test_a_query_that_cannot_be_answered_is_named(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    script = SCRIPT + b'state: ["SELECT 1 FROM mony"]\n'
    with pytest.raises(MusterError, match="Query 1 of `state` cannot be answered"):
        rehearse(tmp_path, postgres, bank, AUTOMATION % ("true", "true", "true"), script)


SKIPPED_LAST = AUTOMATION.replace("automation: paying\n", "automation: paying\ninputs: {n: {type: integer}}\n") + (
    "  - {id: large, when: '{{ inputs.n > 5 }}', skill: bank.look}\n"
)
WITH_INPUTS = SCRIPT.replace(b"name: paid\n", b"name: paid\n    inputs: {n: 1}\n").replace(
    b"name: refused\n", b"name: refused\n    inputs: {n: 9}\n"
)


def test_a_last_step_that_the_first_case_skips_makes_nothing_wrong(
    tmp_path: Path, postgres: str, bank: BankServer
) -> None:
    judged = rehearse(tmp_path, postgres, bank, SKIPPED_LAST % ("true", "true", "true"), WITH_INPUTS)
    assert {name: said for name, said in judged.items() if said} == {}
    assert "every compensation happens twice" in judged
    assert "a crash after append 9 of an undone run" in judged


def test_a_first_case_that_does_nothing_to_undo_is_not_undone(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    automation = SKIPPED_LAST.replace("    skill: bank.pay", "    when: '{{ inputs.n > 5 }}'\n    skill: bank.pay")
    judged = rehearse(
        tmp_path, postgres, bank, automation % ("true", "true", "true"), WITH_INPUTS, ["paid", "pay fails"]
    )
    assert judged == {"paid": [], "pay fails": []}


def test_a_case_with_wrong_inputs_hides_no_failure_of_another(tmp_path: Path, postgres: str, bank: BankServer) -> None:
    script = (
        WITH_INPUTS.replace(b"'fine'", b"'bad'")
        + b"""  - name: mistaken
    inputs: {n: many}
  - name: after it
    inputs: {n: 1}
    expect: {status: failed}
"""
    )
    only = ["paid", "mistaken", "after it"]
    judged = rehearse(tmp_path, postgres, bank, SKIPPED_LAST % ("true", "true", "true"), script, only)
    assert judged["paid"] == ["{{ steps.look == 'bad' }} does not hold"]
    assert judged["mistaken"][0].startswith("it cannot be played: ")
    assert "n" in judged["mistaken"][0]
    assert judged["after it"] == ["it ended succeeded (None), not failed"]


def test_a_first_case_with_wrong_inputs_says_so_and_the_others_are_played(
    tmp_path: Path, postgres: str, bank: BankServer
) -> None:
    script = WITH_INPUTS.replace(b"{n: 1}", b"{n: many}").replace(b"{look: skipped}", b"{look: succeeded}")
    judged = rehearse(tmp_path, postgres, bank, SKIPPED_LAST % ("true", "true", "true"), script)
    assert judged.keys() == {"paid", "refused"}
    assert judged["paid"][0].startswith("it cannot be played: ")
    assert judged["refused"] == ["step look is skipped, not succeeded"]


@pytest.mark.parametrize("failures", ["stop", "undo"])
def test_what_an_item_that_fails_means_for_the_others_is_known(
    tmp_path: Path, postgres: str, bank: BankServer, failures: str
) -> None:
    automation = AUTOMATION % ("true", "true", "true")
    automation = automation.replace("id: look,", f"id: look, each: [1, 2], failures: {failures},")
    script = SCRIPT.replace(b"steps.look == 'fine'", b"steps.look == ['fine', 'fine']")
    only = ["paid", "look fails", "look fails after its work was done", "every compensation happens twice"]
    assert rehearse(tmp_path, postgres, bank, automation, script, only) == {name: [] for name in only}
