"""The official example invoices and real supplier PDFs that tests read from outside the repository."""

from __future__ import annotations

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from muster.database import Database
from muster.documents import Documents
from muster.skills.finance.invoice import Invoice
from muster.skills.registry import SkillContext

DATA = Path(os.environ.get("MUSTER_TEST_DATA", Path(__file__).parents[2].parent / "shared" / "data"))
"""Where the test data is."""

SOURCES = {
    "xrechnung": "the XML files of src/test/business-cases/standard of github.com/itplr-kosit/xrechnung-testsuite",
    "invoice-pdfs": "the PDF and JSON files of tests/compare of github.com/invoice-x/invoice2data",
}
"""The folders of the test data, and where what belongs into each can be had."""

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

EXAMPLES = [(case, syntax) for case in CASES for syntax in ("ubl", "uncefact")]
"""Every example in both, for parametrising."""


def data(folder: str) -> Path:
    """A folder of the test data; skips the test where there is none, in words that pytest gathers into one line."""
    if not (DATA / folder).is_dir():
        pytest.skip(f"there is no {DATA / folder}; it holds {SOURCES[folder]}; MUSTER_TEST_DATA names its parent")
    return DATA / folder


def example(case: str, syntax: str) -> Path:
    """The file of an example in `ubl` or `uncefact`."""
    return data("xrechnung") / f"{case}-INVOICE_{syntax}.xml"


def from_example(case: str, syntax: str) -> Invoice:
    """The invoice read from an example."""
    from muster.skills.finance.reading.structured import read_xml

    return read_xml(example(case, syntax).read_bytes())[0]


def supplier_pdfs() -> list[Path]:
    """Every real supplier PDF; its true fields are in the JSON file beside it."""
    return sorted(data("invoice-pdfs").glob("*.pdf"))


def reader(*folders: Path) -> SkillContext:
    """The context of a skill that needs no database and may read these folders."""
    return SkillContext(
        run="try/1",
        step="read",
        key="read",
        now=datetime.now(UTC),
        database=Database("host=/nonexistent"),
        workspace=Path("/nonexistent"),
        documents=Documents(folders),
    )
