"""Promises of coding: the supplier's own history decides, says how sure it is, and never poses as a model."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from pathlib import Path

import pytest
from pydantic import ValidationError

from muster.database import Database
from muster.errors import SetAside
from muster.skills.finance import CodedInvoice, code_by_history, list_cost_centres
from muster.skills.registry import SkillContext, get_skill
from support.ledger import NOW, company, invoice, line, post


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def remember(ready: SkillContext, *codings: tuple[str, str, int]) -> None:
    """Codings of the past: item, cost centre, days ago."""
    with ready.database.connection() as connection:
        for item, centre, days in codings:
            connection.execute(
                "INSERT INTO finance.coding_history (supplier_id, item_key, cost_centre, coded_on)"
                " VALUES (%s, %s, %s, %s)",
                ("seidel", item, centre, NOW.date() - timedelta(days=days)),
            )


def test_the_usual_cost_centre_answers_for_a_supplier_without_history(ready: SkillContext) -> None:
    coded = code_by_history(invoice(), ready).lines[0]
    assert (coded.line, coded.cost_centre, coded.confidence) == ("1", "2000", Decimal("0.5"))


def test_lines_of_the_same_item_decide_before_other_lines(ready: SkillContext) -> None:
    remember(ready, ("PS-1", "3000", 30), ("PS-9", "4000", 1), ("PS-9", "4000", 2))
    lines = code_by_history(invoice(line("1"), line("2", item={"name": "New", "seller_id": "PS-5"})), ready).lines
    assert [each.cost_centre for each in lines] == ["3000", "4000"]
    assert lines[0].confidence > lines[1].confidence


def test_a_recent_habit_outweighs_an_old_one(ready: SkillContext) -> None:
    old = [("PS-1", "2000", 700 + day) for day in range(4)]
    remember(ready, *old, ("PS-1", "4000", 10), ("PS-1", "4000", 40))
    assert code_by_history(invoice(), ready).lines[0].cost_centre == "4000"


def test_a_longer_history_is_surer(ready: SkillContext) -> None:
    remember(ready, ("PS-1", "3000", 5))
    short = code_by_history(invoice(), ready).lines[0].confidence
    remember(ready, *[("PS-1", "3000", day) for day in range(6, 20)])
    assert short < code_by_history(invoice(), ready).lines[0].confidence < 1


def test_what_was_posted_is_remembered(ready: SkillContext) -> None:
    post(ready)
    coded = code_by_history(invoice(number="RE-2"), ready).lines[0]
    assert coded.reason == "1 of 1 earlier codings of this item went to 2000."


def test_a_closed_cost_centre_is_not_proposed(ready: SkillContext) -> None:
    remember(ready, ("PS-1", "4000", 1))
    with ready.database.connection() as connection:
        connection.execute("UPDATE finance.cost_centres SET active = false WHERE code = '4000'")
    assert code_by_history(invoice(), ready).lines[0].cost_centre == "2000"
    assert [centre.code for centre in list_cost_centres(ready)] == ["2000", "3000"]


def test_an_unknown_supplier_is_set_aside_not_guessed(ready: SkillContext) -> None:
    with pytest.raises(SetAside) as caught:
        code_by_history(invoice(seller={"name": "Nobody"}, payment=None), ready)
    assert caught.value.findings[0].rule == "MU-COST-CENTRE"


def test_an_invoice_without_lines_is_coded_as_one(ready: SkillContext) -> None:
    assert [each.line for each in code_by_history(invoice().model_copy(update={"lines": []}), ready).lines] == ["1"]


def test_items_without_a_number_are_known_by_their_words_whatever_the_month(ready: SkillContext) -> None:
    remember(ready, ("office cleaning", "3000", 30))
    cleaning = line(item={"name": "Office cleaning 09/2026"})
    assert code_by_history(invoice(cleaning), ready).lines[0].cost_centre == "3000"


def test_it_says_that_rules_made_it(ready: SkillContext) -> None:
    skill = get_skill("finance.code_by_history")
    dumped = skill.dump(code_by_history(invoice(), ready))
    assert dumped["produced_by"] == "rules"
    assert CodedInvoice.model_validate(dumped).lines[0].cost_centre == "2000"


@pytest.mark.parametrize(
    "lines",
    [
        [],
        [{"line": "1", "cost_centre": "2000"}, {"line": "1", "cost_centre": "3000"}],
        [{"line": "1", "cost_centre": "the office"}],
        [{"line": "1", "cost_centre": "2000", "confidence": 1.2}],
        [{"line": "1", "cost_centre": "2000", "account": "office"}],
    ],
    ids=["no line", "a line twice", "no code", "surer than sure", "no account"],
)
def test_a_model_answer_that_is_no_coding_is_refused(lines: list[dict[str, object]]) -> None:
    with pytest.raises(ValidationError):
        CodedInvoice.model_validate({"lines": lines})


def test_codings_of_the_future_do_not_count(ready: SkillContext) -> None:
    remember(ready, ("PS-1", "4000", -1))
    assert code_by_history(invoice(issue_date=date(2026, 9, 3)), ready).lines[0].cost_centre == "2000"
