"""Master data from a YAML file: cost centres, suppliers, orders, receipts, and codings of the past."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Annotated, Any

from psycopg import Connection, errors
from psycopg.sql import SQL, Identifier, Placeholder
from pydantic import BaseModel, Field, ValidationError

from muster.documents import Documents
from muster.errors import PermanentError
from muster.misfits import in_words
from muster.skills.finance.coding import CostCentreCode
from muster.skills.finance.invoice import Currency
from muster.skills.finance.masterfile import MAX_BYTES, MasterFile
from muster.skills.finance.policy import policy_of
from muster.skills.finance.suppliers import vat_key
from muster.skills.registry import SkillContext, skill
from muster.yaml_model import YamlModel


class CostCentreEntry(YamlModel):
    """A cost centre."""

    code: CostCentreCode
    name: str


class Coding(YamlModel):
    """How one of the supplier's items was coded in the past."""

    item: str
    """The supplier's item number, else the item's name in lower case without digits."""
    cost_centre: CostCentreCode
    account: str | None = None
    on: list[date]
    """The days it was coded so."""


class SupplierEntry(YamlModel):
    """A supplier."""

    id: str
    name: str
    vat_id: str | None = None
    currency: Currency | None = None
    """What is agreed on; default: the company's own."""
    payment_days: int = Field(default=30, ge=0, le=3650)
    cost_centre: CostCentreCode | None = None
    order_required: bool = True
    blocked: bool = False
    ibans: dict[str, date] = {}
    """The accounts it may be paid on, each with the day since when."""
    codings: list[Coding] = []


class OrderLineEntry(YamlModel):
    """A line of an order."""

    line: str
    item: str | None = None
    description: str
    quantity: Decimal = Field(gt=0)
    price: Decimal = Field(ge=0)
    """For one unit, without VAT."""


class ReceiptEntry(YamlModel):
    """Goods that arrived."""

    number: str
    received_on: date
    lines: dict[str, Annotated[Decimal, Field(gt=0)]]
    """The quantity received, by order line."""


class OrderEntry(YamlModel):
    """A purchase order with its receipts."""

    number: str
    supplier: str
    ordered_on: date
    currency: Currency | None = None
    """Default: the company's own."""
    receipt_required: bool = True
    lines: list[OrderLineEntry] = Field(min_length=1)
    receipts: list[ReceiptEntry] = []


class MasterData(YamlModel):
    """Everything a file may hold."""

    cost_centres: list[CostCentreEntry] = []
    suppliers: list[SupplierEntry] = []
    orders: list[OrderEntry] = []


class Loaded(BaseModel):
    """How many rows a file added; what was there already is kept as it is."""

    added: dict[str, int]
    """By table."""


Row = dict[str, Any]


@skill("finance.load_master_data", lane="worker")
def load_master_data(file: str, context: SkillContext) -> Loaded:
    """Add what the YAML file holds to the database and leave alone what is there: loading it again adds nothing.

    Raises:
        PermanentError: the file cannot be read, or does not hold master data; nothing of it was added.
    """
    data, currency = _read(file, context.documents), policy_of(context.settings).base_currency
    with context.database.connection() as connection:
        # Two loads at the same time would both find no codings of a supplier, and add them twice.
        connection.execute("SELECT pg_advisory_xact_lock(hashtextextended('finance.load_master_data', 0))")
        try:
            added = {table: _add(connection, table, rows) for table, rows in _tables(data, currency)}
            added["coding_history"] = _add_codings(connection, data.suppliers)
        except errors.ForeignKeyViolation as error:
            raise PermanentError(f"{file} names something it does not hold: {error.diag.message_detail}") from error
        except (errors.IntegrityError, errors.DataError) as error:
            reason = error.diag.message_detail or error.diag.message_primary
            raise PermanentError(f"{file} holds what the database refuses: {reason}") from error
    return Loaded(added=added)


def _read(file: str, documents: Documents) -> MasterData:
    written = MasterFile(file, documents.read(file, max_bytes=MAX_BYTES))
    try:
        return MasterData.model_validate(written.data, strict=False)
    except ValidationError as error:
        wrong = "; ".join(
            f"{written.place(e['loc'])}: {'.'.join(map(str, e['loc']))}: {in_words(e)}" for e in error.errors()
        )
        raise PermanentError(f"This is not master data: {wrong}.") from error


def _tables(data: MasterData, currency: str) -> Iterator[tuple[str, list[Row]]]:
    yield "cost_centres", [{"code": centre.code, "name": centre.name} for centre in data.cost_centres]
    yield "suppliers", [_supplier(supplier, currency) for supplier in data.suppliers]
    yield (
        "supplier_accounts",
        [
            {"supplier_id": supplier.id, "iban": iban.replace(" ", ""), "since": since}
            for supplier in data.suppliers
            for iban, since in supplier.ibans.items()
        ],
    )
    yield "purchase_orders", [_order(order, currency) for order in data.orders]
    yield "purchase_order_lines", [_order_line(order, line) for order in data.orders for line in order.lines]
    receipts = [(order, receipt) for order in data.orders for receipt in order.receipts]
    yield (
        "goods_receipts",
        [
            {"number": receipt.number, "order_number": order.number, "received_on": receipt.received_on}
            for order, receipt in receipts
        ],
    )
    yield (
        "goods_receipt_lines",
        [
            {"receipt_number": receipt.number, "order_number": order.number, "order_line": line, "quantity": quantity}
            for order, receipt in receipts
            for line, quantity in receipt.lines.items()
        ],
    )


def _supplier(supplier: SupplierEntry, currency: str) -> Row:
    row = supplier.model_dump(exclude={"ibans", "codings"})
    vat_id = vat_key(supplier.vat_id) if supplier.vat_id else None
    return row | {"vat_id": vat_id, "currency": supplier.currency or currency}


def _order(order: OrderEntry, currency: str) -> Row:
    row = order.model_dump(include={"number", "ordered_on", "receipt_required"})
    return row | {"supplier_id": order.supplier, "currency": order.currency or currency}


def _order_line(order: OrderEntry, line: OrderLineEntry) -> Row:
    row = line.model_dump(include={"line", "description", "quantity"})
    return row | {"order_number": order.number, "item_id": line.item, "unit_price": line.price}


def _add(connection: Connection[Any], table: str, rows: Sequence[Row]) -> int:
    if not rows:
        return 0
    statement = SQL("INSERT INTO {} ({}) VALUES ({}) ON CONFLICT ON CONSTRAINT {} DO NOTHING").format(
        Identifier("finance", table),
        SQL(", ").join(map(Identifier, rows[0])),
        SQL(", ").join(map(Placeholder, rows[0])),
        # Only the row itself may be there already: a VAT id that another supplier has is a mistake.
        Identifier(f"{table}_pkey"),
    )
    with connection.cursor() as cursor:
        cursor.executemany(statement, rows)
        return cursor.rowcount


def _add_codings(connection: Connection[Any], suppliers: Sequence[SupplierEntry]) -> int:
    known = {row[0] for row in connection.execute("SELECT DISTINCT supplier_id FROM finance.coding_history")}
    rows = [
        {"supplier_id": supplier.id, "item_key": coding.item, "cost_centre": coding.cost_centre,
         "account": coding.account, "coded_on": day}
        for supplier in suppliers if supplier.id not in known
        for coding in supplier.codings for day in coding.on
    ]  # fmt: skip
    return _add(connection, "coding_history", rows)
