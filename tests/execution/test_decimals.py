"""An amount that is exactly the limit, beside a limit that is written in YAML or in the expression."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.database import Database
from support.runs import Site
from support.sources import source_of

DEPOT = source_of(__file__, "decimals_depot")
CLERK = """department: office
agents:
  - id: clerk
    role: You judge.
    tiers: [x]
    offline: depot.judge
    returns: {type: object, properties: {confidence: {type: number}}, required: [confidence]}
"""


@pytest.mark.parametrize(
    "condition",
    [
        "steps.read.amount >= settings.limit",
        "steps.read.amount >= inputs.limit",
        "steps.read.amount == 1000.10",
        "not steps.read.amount < settings.limit",
        "steps.read.amount in [1000.10]",
        "steps.read.amount * settings.rate == 1190.119",
    ],
)
def test_what_a_skill_says_is_compared_as_it_is_written(tmp_path: Path, database: Database, condition: str) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", DEPOT)
    run = site.run(
        site.definition(f"""automation: pay
settings: {{limit: 1000.10, rate: 1.19}}
inputs: {{limit: {{type: number, default: 1000.10}}}}
steps:
  - {{id: read, skill: depot.read, with: {{amount: "1000.10"}}}}
  - {{id: approve, when: "{{{{ {condition} }}}}", skill: depot.act}}
""")
    )
    assert site.state(run).step("approve").status == "succeeded"


@pytest.mark.parametrize(
    ("value", "condition", "status"),
    [(0.9, ">= 0.9", "succeeded"), (0.7, "> 0.7", "skipped"), (0.95, ">= settings.sure", "succeeded")],
)
def test_so_is_what_an_agent_says(
    tmp_path: Path, database: Database, value: float, condition: str, status: str
) -> None:
    site = Site(tmp_path, database)
    site.skills("depot", DEPOT)
    site.agents(CLERK)
    run = site.run(
        site.definition(f"""automation: book
settings: {{sure: 0.95}}
steps:
  - {{id: judge, agent: clerk, ask: How sure?, with: {{value: {value}}}}}
  - {{id: book, when: "{{{{ steps.judge.confidence {condition} }}}}", skill: depot.act}}
""")
    )
    assert site.state(run).step("book").status == status
