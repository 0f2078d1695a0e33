"""The two skills as automations call them: by name, with plain data, loading no parser too early."""

from __future__ import annotations

import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from muster.database import Database
from muster.errors import PermanentError
from muster.skills.finance.invoice import CheckedInvoice, ReadInvoice
from muster.skills.registry import SkillContext, get_skill
from support.invoices import example, reader


def context(day: str = "2026-11-21") -> SkillContext:
    """Of a run on a day, with a database that cannot be reached: these skills need none."""
    return SkillContext(
        run="try/1",
        step="check",
        key="check[0]",
        now=datetime.fromisoformat(f"{day}T12:00:00").replace(tzinfo=UTC),
        database=Database("host=/nonexistent"),
        workspace=Path("/nonexistent"),
    )


def read_and_check(path: Path, **options: Any) -> CheckedInvoice:
    """As a run does it: each result is JSON before the next step sees it."""
    reading, checking = get_skill("finance.read_invoice"), get_skill("finance.check_invoice")
    read = reading.dump(reading.function(**reading.arguments({"uri": str(path)}), context=reader(path.parent)))
    checked = checking.function(**checking.arguments({"invoice": read, **options}), context=context())
    result = checking.output.validate_python(checking.dump(checked))
    assert isinstance(result, CheckedInvoice)
    return result


def test_an_invoice_goes_from_file_to_findings_through_json() -> None:
    checked = read_and_check(example("01.15a", "uncefact"))
    assert checked.ok
    assert checked.format == "cii"
    assert checked.profile == "urn:cen.eu:en16931:2017#compliant#urn:xeinkauf.de:kosit:xrechnung_3.0"
    assert str(checked.invoice.totals.gross) == "10686.2"
    assert {finding.rule for finding in checked.findings} == {"MU-VAT-ID-INVALID", "MU-BIC-INVALID"}


def test_a_finding_that_is_an_error_makes_it_not_ok(tmp_path: Path) -> None:
    path = tmp_path / "invoice.xml"
    path.write_bytes(example("01.15a", "ubl").read_bytes().replace(b">10686.2<", b">10687.2<", 1))
    checked = read_and_check(path)
    assert not checked.ok
    errors = {finding.rule for finding in checked.findings if finding.severity == "error"}
    assert errors == {"BR-CO-15", "BR-CO-16"}


def test_what_reading_noticed_stays_with_the_checked_invoice(tmp_path: Path) -> None:
    path = tmp_path / "invoice.xml"
    path.write_bytes(example("01.15a", "ubl").read_bytes().replace(b'"EUR"', b'"USD"', 1))
    checked = read_and_check(path)
    assert not checked.ok
    assert "MU-CURRENCY-MIXED" in {finding.rule for finding in checked.findings}


def test_an_expected_currency_is_an_option_and_must_be_one() -> None:
    checked = read_and_check(example("01.15a", "ubl"), expected_currency="CHF")
    assert "MU-CURRENCY-UNEXPECTED" in {finding.rule for finding in checked.findings}
    with pytest.raises(PermanentError, match="expected_currency"):
        read_and_check(example("01.15a", "ubl"), expected_currency="Euro")


def test_the_day_of_the_run_decides_what_is_the_future() -> None:
    read = get_skill("finance.read_invoice").function(str(path := example("01.15a", "ubl")), reader(path.parent))
    check = get_skill("finance.check_invoice").function
    assert isinstance(read, ReadInvoice)
    assert check(read, context=context("2017-12-11")).ok
    assert not check(read, context=context("2017-12-09")).ok


def test_knowing_the_skills_loads_no_parser() -> None:
    heavy = ("lxml", "pypdf", "pdfplumber", "facturx", "schwifty", "stdnum")
    program = f"import muster.skills.finance, sys; print([name for name in {heavy} if name in sys.modules])"
    result = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"
