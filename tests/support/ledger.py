"""What tests of the finance skills start from: a company with two suppliers, and invoices to vary."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from pathlib import Path
from typing import Any

from muster.database import Database
from muster.documents import documents_of
from muster.skills.finance import CodedInvoice, OrderMatch, Posting, VettedInvoice, post_to_ledger
from muster.skills.finance.invoice import Invoice, InvoiceLine, ReadInvoice
from muster.skills.finance.master import load_master_data
from muster.skills.finance.suppliers import find_supplier
from muster.skills.registry import SkillContext

NOW = datetime(2026, 10, 1, 9, 30, tzinfo=UTC)
VAT_ID, IBAN = "DE812304528", "DE02999999990000200101"
SETTINGS = {"finance": {"company": {"name": "Nordlicht & Söhne", "iban": "DE34999999990000100100"}}}

MASTER_DATA = """
cost_centres: [{code: "2000", name: Office}, {code: "3000", name: Production}, {code: "4000", name: IT}]
suppliers:
  - {id: seidel, name: Papierhaus Seidel GmbH, vat_id: DE812304528, cost_centre: "2000",
     ibans: {DE02999999990000200101: 2024-01-15}}
  - {id: acme, name: Acme Inc., currency: USD, cost_centre: "4000", order_required: false,
     ibans: {GB33BUKB20201555555555: 2024-01-15}}
orders:
  - number: PO-1
    supplier: seidel
    ordered_on: 2026-08-20
    lines:
      - {line: "10", item: PS-1, description: Copy paper A4, quantity: 100, price: 4.00}
      - {line: "20", item: PS-2, description: Toner cartridge black, quantity: 10, price: 60.00}
    receipts: [{number: GR-1, received_on: 2026-09-01, lines: {"10": 100, "20": 8}}]
  - number: PO-2
    supplier: seidel
    ordered_on: 2026-08-20
    receipt_required: false
    lines: [{line: "10", item: PS-1, description: Copy paper A4, quantity: 100, price: 4.00}]
"""


def company(database: Database, folder: Path) -> SkillContext:
    """A context on a database that holds the company's master data."""
    path = folder / "master-data.yaml"
    path.write_text(MASTER_DATA)
    made = context(database, folder)
    load_master_data(str(path), made)
    return made


def context(
    database: Database,
    folder: Path,
    run: str = "invoices/1",
    *,
    step: str = "post",
    index: int | None = 0,
    settings: Mapping[str, Any] = SETTINGS,
) -> SkillContext:
    """What a skill is handed for item `index` of `step`."""
    key = step if index is None else f"{step}[{index}]"
    return SkillContext(
        run=run, step=step, index=index, key=key, now=NOW, database=database, workspace=folder / run,
        settings=settings, documents=documents_of(settings, shared=[Path("/")]),
    )  # fmt: skip


def line(number: str = "1", **changes: Any) -> InvoiceLine:
    """A line over ten boxes of paper at 4.00, as ordered."""
    values: dict[str, Any] = {
        "id": number, "quantity": "10", "unit": "C62", "net_price": "4.00", "net_amount": "40.00",
        "order_line_reference": "10", "vat_category": "S", "vat_rate": "19",
        "item": {"name": "Copy paper A4", "seller_id": "PS-1"},
    }  # fmt: skip
    return InvoiceLine.model_validate(values | changes)


def invoice(*lines: InvoiceLine, **changes: Any) -> Invoice:
    """An invoice of Papierhaus Seidel whose totals fit its lines."""
    lines = lines or (line(),)
    net = sum((each.net_amount or Decimal(0) for each in lines), Decimal(0))
    vat = (net * 19 / 100).quantize(Decimal("0.01"))
    values: dict[str, Any] = {
        "number": "RE-1", "issue_date": date(2026, 9, 3), "due_date": date(2026, 10, 20), "type_code": "380",
        "currency": "EUR", "order_reference": "PO-1", "specification": "urn:cen.eu:en16931:2017",
        "seller": {"name": "Papierhaus Seidel GmbH", "vat_id": VAT_ID, "address": {"country": "DE"}},
        "buyer": {"name": "Nordlicht & Söhne", "address": {"country": "DE"}},
        "payment": {"means_code": "58", "credit_transfers": [{"account": IBAN}]},
        "totals": {"line_total": net, "net": net, "vat": vat, "gross": net + vat, "due": net + vat},
        "vat_breakdown": [{"taxable_amount": net, "tax_amount": vat, "category": "S", "rate": "19"}],
        "lines": list(lines),
    }  # fmt: skip
    return Invoice.model_validate(values | changes)


def read(content: Invoice | None = None, sha256: str = "a" * 64) -> ReadInvoice:
    """An invoice as reading gives it."""
    return ReadInvoice(invoice=content or invoice(), source=f"file:///in/{sha256[:4]}.xml", format="ubl", sha256=sha256)


def vetted(database: Database, content: Invoice | None = None, sha256: str = "a" * 64) -> VettedInvoice:
    """The invoice with its supplier, as if every check had passed."""
    with database.connection() as connection:
        supplier, _ = find_supplier(connection, content or invoice())
    assert supplier is not None
    return VettedInvoice(**dict(read(content, sha256)), ok=True, supplier=supplier)


def coding(*centres: str) -> CodedInvoice:
    """Lines 1, 2, ... coded with these cost centres."""
    lines = [{"line": str(number), "cost_centre": centre} for number, centre in enumerate(centres or ("2000",), 1)]
    return CodedInvoice.model_validate({"lines": lines})


def post(context: SkillContext, content: Invoice | None = None, match: OrderMatch | None = None) -> Posting:
    """The invoice posted, each line to cost centre 2000."""
    content = content or invoice()
    centres = ["2000"] * max(len(content.lines), 1)
    return post_to_ledger(vetted(context.database, content), coding(*centres), context, match)


def post_in_a_process(dsn: str, folder: Path, run: str, barrier: object, results: object) -> None:
    """What each of several processes does: wait for the others, then post the same invoices."""
    database = Database(dsn)
    work = [
        (context(database, folder, run, index=number), vetted(database, invoice(number=f"RE-{number}")))
        for number in range(10)
    ]
    barrier.wait(30)  # type: ignore[attr-defined]
    for each, content in work:
        posting = post_to_ledger(content, coding(), each)
        results.put((posting.number, posting.id, posting.already_posted))  # type: ignore[attr-defined]
    database.close()
