"""The official example invoices and real supplier PDFs that tests read from outside the repository."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from muster.skills.finance.invoice import Invoice

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
"""Where the test data is."""

CASES = [
    *(
        "01.01a",
        "01.02a",
        "01.03a",
        "01.04a",
        "01.05a",
        "01.06a",
        "01.07a",
        "01.08a",
        "01.09a",
        "01.11a",
        "01.13a",
    ),
    *(
        "01.15a",
        "01.17a",
        "01.19a",
        "01.21a",
        "03.01a",
        "03.02a",
        "03.03a",
        "03.04a",
        "03.05a",
        "03.06a",
        "03.07a",
    ),
]
"""The XRechnung test suite's examples, each in two syntaxes."""


def example(case: str, syntax: str) -> Path:
    """The file of an example in `ubl` or `uncefact`; skips the test when the data is absent."""
    path = DATA / "xrechnung" / f"{case}-INVOICE_{syntax}.xml"
    if not DATA.is_dir():
        pytest.skip(f"the test data is not at {DATA}; set MUSTER_TEST_DATA to its folder")
    return path


def from_example(case: str, syntax: str) -> Invoice:
    """The invoice read from an example."""
    from muster.skills.finance.reading.structured import read_xml

    return read_xml(example(case, syntax).read_bytes())[0]


def examples() -> list[object]:
    """Every file of every example, for parametrising; one skipped parameter when the data is absent."""
    if not DATA.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"the test data is not at {DATA}"))]
    return [DATA / "xrechnung" / f"{case}-INVOICE_{syntax}.xml" for case in CASES for syntax in ("ubl", "uncefact")]


def supplier_pdfs() -> list[object]:
    """Every real supplier PDF, for parametrising; one skipped parameter when the data is absent."""
    if not DATA.is_dir():
        return [pytest.param(None, marks=pytest.mark.skip(reason=f"the test data is not at {DATA}"))]
    return sorted((DATA / "invoice-pdfs").glob("*.pdf"))
