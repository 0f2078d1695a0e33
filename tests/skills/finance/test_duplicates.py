"""Promises of the register: only an invoice that can be told from others is entered."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import SetAside
from muster.skills.finance import find_duplicates, vet_invoice
from muster.skills.finance.register import LONGEST_NUMBER, number_key
from muster.skills.registry import SkillContext
from support.ledger import company, context, invoice, line, read


@pytest.fixture
def ready(database: Database, tmp_path: Path) -> SkillContext:
    return company(database, tmp_path)


def registered(database: Database) -> int:
    with database.connection() as connection:
        row = connection.execute("SELECT count(*) FROM finance.invoices").fetchone()
    assert row is not None
    found: int = row[0]
    return found


@pytest.mark.parametrize(
    ("changes", "rules"),
    [
        ({"number": None}, ["MU-INCOMPLETE"]),
        ({"issue_date": None, "currency": None}, ["MU-INCOMPLETE", "MU-INCOMPLETE"]),
        ({"number": "9" * (LONGEST_NUMBER + 1)}, ["MU-NUMBER-TOO-LONG"]),
    ],
)
def test_what_cannot_be_told_from_others_is_set_aside(
    ready: SkillContext, changes: dict[str, Any], rules: list[str]
) -> None:
    with pytest.raises(SetAside) as caught:
        find_duplicates(read(invoice(**changes)), ready)
    assert [finding.rule for finding in caught.value.findings] == rules
    assert registered(ready.database) == 0


def test_the_longest_number_is_entered(ready: SkillContext) -> None:
    content = invoice(number="".join(chr(0x4E00 + each * 7) for each in range(LONGEST_NUMBER)))
    assert find_duplicates(read(content), ready).ok
    assert registered(ready.database) == 1


@pytest.mark.parametrize("number", ["re 1", "RE-1\t", "ＲＥ-1"])
def test_width_case_and_spaces_do_not_make_another_number(number: str) -> None:
    assert number_key(number).replace("-", "") == "RE1"


@pytest.mark.parametrize("amount", ["1e20", "9" * 30])
def test_absurd_amounts_are_set_aside_by_vetting(ready: SkillContext, tmp_path: Path, amount: str) -> None:
    absurd = {"net": amount, "vat": "0", "gross": amount, "due": amount, "line_total": amount}
    content = invoice(line(vat_category="Z", vat_rate="0"), totals=absurd)
    content = content.model_copy(
        update={"lines": [content.lines[0].model_copy(update={"quantity": content.totals.net})]}
    )
    with pytest.raises(SetAside):
        vet_invoice(read(content), context(ready.database, tmp_path, step="vet"))
    assert registered(ready.database) == 0
