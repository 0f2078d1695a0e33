"""A rehearsal plays the runs that an automation asks for as well, and finds what is not undone in them."""

from __future__ import annotations

from pathlib import Path

from muster.rehearsal.rehearsing import rehearsed
from muster.rehearsal.script import read_script
from support.sources import source_of

SKILLS = source_of(__file__, "children")
PAY = "skill: bank.pay, with: {amount: 100}, compensate: {skill: bank.refund, with: {amount: %s}}"
CHILD = f"automation: paying\nsteps:\n  - {{id: pay, {PAY}}}\n"
PARENT = f"""automation: ordering
steps:
  - {{id: deposit, {PAY % 100}}}
  - {{id: pay, run: paying}}
  - {{id: book, skill: bank.pay, with: {{amount: 0}}}}
"""
SCRIPT = """automation: ordering
prepare: [{skill: bank.prepare}]
state: ["SELECT coalesce(sum(amount), 0) FROM money"]
cases:
  - name: ordered
    %s
    expect: {steps: {pay: succeeded}, hold: ["{{ steps.pay.outputs.pay == 'paid' }}"]}
"""


def rehearse(folder: Path, server: str, refund: int, more: str = "", *, quick: bool = True) -> dict[str, list[str]]:
    include = folder / "include"
    for name in ("automations", "skills"):
        (include / name).mkdir(parents=True)
    (include / "skills" / "bank.py").write_text(SKILLS)
    (include / "automations" / "paying.yaml").write_text(CHILD % refund)
    (include / "automations" / "ordering.yaml").write_text(PARENT)
    script = include / "automations" / "ordering.test.yaml"
    script.write_text(SCRIPT % more)
    judged = rehearsed(include, read_script(script), server, folder / "files", quick=quick)
    return dict(judged)


def test_runs_within_runs_hold_in_every_scenario(tmp_path: Path, postgres: str) -> None:
    judged = rehearse(tmp_path, postgres, 100, quick=False)
    assert {name: said for name, said in judged.items() if said} == {}
    assert {"pay fails", "pay fails after its work was done", "every compensation happens twice"} <= judged.keys()
    assert "the compensation of pay fails, and the run is resumed" in judged
    assert sum(name.startswith("a crash ") for name in judged) > 60


def test_what_a_run_within_a_run_does_not_undo_is_found(tmp_path: Path, postgres: str) -> None:
    judged = rehearse(tmp_path, postgres, 90)
    assert judged["ordered"] == []
    assert "query 1 of `state` is not as it was before the run" in judged["book fails after its work was done"][0]


def test_a_run_can_be_mocked(tmp_path: Path, postgres: str) -> None:
    judged = rehearse(tmp_path, postgres, 90, "mocks: {pay: {output: {outputs: {pay: paid}}}}")
    assert {name: said for name, said in judged.items() if said} == {}
