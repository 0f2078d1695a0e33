"""Posting an invoice once, however many runs try at the same moment, and taking a posting back."""

from __future__ import annotations

from datetime import date, timedelta
from decimal import Decimal
from typing import Any

from psycopg import Connection, errors
from pydantic import BaseModel, ConfigDict

from muster.errors import PermanentError
from muster.skills.finance.coding import CodedInvoice, codable_lines
from muster.skills.finance.invoice import Currency, Invoice
from muster.skills.finance.ledger import Entry, entries_for, read_entries, refused, write_posting
from muster.skills.finance.matching import OrderMatch, billed_too_much
from muster.skills.finance.orders import load_order
from muster.skills.finance.policy import policy_of
from muster.skills.finance.register import Registered, receiver, register, take_over_from
from muster.skills.finance.suppliers import Supplier
from muster.skills.finance.vetting import VettedInvoice
from muster.skills.registry import SkillContext, skill

NOT_BY_TRANSFER = {
    "10": "paid in cash",
    "20": "paid by cheque",
    "48": "paid by card",
    "49": "collected by direct debit",
    "54": "paid by card",
    "55": "paid by card",
    "59": "collected by direct debit",
}
"""UNTDID 4461 codes of invoices that nobody must transfer money for."""


class Posting(BaseModel):
    """An invoice in the ledger, with what a payment needs."""

    model_config = ConfigDict(frozen=True)

    id: int
    already_posted: bool
    """True when other work had posted this invoice before: nothing was posted now."""
    number: str
    supplier: str
    """The supplier's id."""
    supplier_name: str
    gross: Decimal
    currency: Currency
    due: Decimal
    """What is to be paid; negative for a credit note."""
    due_date: date
    iban: str | None
    """The account to pay on, one that the master data know."""
    not_by_transfer: str | None = None
    """Why no money is to be transferred, when so."""
    remittance: str
    """What the payment should say."""
    entries: list[Entry]


class Reversal(BaseModel):
    """A posting taken back by its mirror image."""

    model_config = ConfigDict(frozen=True)

    id: int | None
    """The posting that reverses; None when there was nothing to reverse."""
    reverses: int | None
    already_reversed: bool
    """True when it had been reversed before: nothing was posted now."""


@skill("finance.post_to_ledger", lane="worker")
def post_to_ledger(
    invoice: VettedInvoice, coding: CodedInvoice, context: SkillContext, match: OrderMatch | None = None
) -> Posting:
    """Post the invoice: expense by cost centre and input VAT against payables; a credit note the other way round.

    An invoice is posted once: who comes second is given the first posting, marked `already_posted`.

    Raises:
        SetAside: the invoice cannot be posted as it is coded and matched; the findings say why.
        PermanentError: this work has posted another invoice before, or the settings name an unknown account.
    """
    entries = entries_for(invoice.invoice, coding, policy_of(context.settings).accounts)
    key = f"{context.run}/{context.key}"
    try:
        with context.database.connection() as connection:
            entry, _ = register(connection, invoice, invoice.supplier.id, receiver(context))
            if entry.posting_id is not None:
                written = read_entries(connection, entry.posting_id)
                _check_same(entry, written, invoice, entries)
                # The same work that is repeated after a crash finds its own posting, which counts as posted now.
                return _posting(invoice, entry.posting_id, written, already_posted=entry.posting_key != key)
            take_over_from(connection, entry, invoice, receiver(context))
            _check_cost_centres(connection, coding)
            posting = _write(connection, entry, entries, key, context.now.date())
            _bill_order(connection, posting, match)
            _remember_coding(connection, invoice, coding, posting, context.now.date())
    except errors.UniqueViolation as error:
        raise PermanentError(f"{context.key} of {context.run} has posted another invoice before.") from error
    except (errors.ForeignKeyViolation, errors.CheckViolation) as error:
        raise PermanentError(
            f"The ledger refused the posting: {error.diag.message_detail or error.diag.message_primary}",
            remedy="Compare the accounts in the settings and in the coding with those of the ledger.",
        ) from error
    return _posting(invoice, posting, entries, already_posted=False)


@skill("finance.reverse_posting", lane="worker")
def reverse_posting(context: SkillContext, posting: int | None = None) -> Reversal:
    """Take a posting back with its mirror image, once; the invoice may then be posted again.

    As a compensation it needs no arguments: it finds what the undone work posted itself, if it ever did. An
    invoice that other work had posted before stays posted.

    Raises:
        PermanentError: there is no such posting, it is a reversal itself, or it is in a payment file already.
    """
    with context.database.connection() as connection:
        posting = _posted_by(connection, context) if posting is None else posting
        if posting is None:
            return Reversal(id=None, reverses=None, already_reversed=False)
        # Two that reverse at once queue here; the second finds the first one's reversal.
        row = connection.execute(
            """SELECT p.currency, p.reverses, r.id, EXISTS (SELECT FROM finance.payments m WHERE m.posting_id = p.id)
                 FROM finance.postings p LEFT JOIN finance.postings r ON r.reverses = p.id
                WHERE p.id = %s""",
            (_lock(connection, posting),),
        ).fetchone()
        if row is None:
            raise PermanentError(f"There is no posting {posting}.")
        currency, reverses, reversed_by, is_paid = row
        if reversed_by is not None:
            return Reversal(id=reversed_by, reverses=posting, already_reversed=True)
        if reverses is not None:
            raise PermanentError(f"Posting {posting} reverses {reverses} itself.", remedy="Post the invoice again.")
        if is_paid:
            raise PermanentError(
                f"Posting {posting} is in a payment file.", remedy="Withdraw the payment at the bank first."
            )
        return _reverse(connection, posting, currency, context)


def _posted_by(connection: Connection[Any], context: SkillContext) -> int | None:
    """The posting that the undone work wrote last; None when it wrote none."""
    if context.undoes is None:
        raise PermanentError("There is no telling what to reverse.", remedy="Say which `posting`.")
    row = connection.execute(
        "SELECT id FROM finance.postings WHERE key = %s AND reverses IS NULL ORDER BY id DESC LIMIT 1",
        (f"{context.run}/{context.undoes}",),
    ).fetchone()
    return None if row is None else int(row[0])


def _lock(connection: Connection[Any], posting: int) -> int:
    connection.execute("SELECT FROM finance.postings WHERE id = %s FOR UPDATE", (posting,))
    return posting


def _reverse(connection: Connection[Any], posting: int, currency: str, context: SkillContext) -> Reversal:
    entries = [entry.mirrored() for entry in read_entries(connection, posting)]
    reversal = write_posting(
        connection, entries, key=f"{context.run}/{context.key}", dated=context.now.date(), currency=currency,
        text=f"Reverses posting {posting}", reverses=posting,
    )  # fmt: skip
    connection.execute(
        "UPDATE finance.invoices SET posting_id = NULL, posting_key = NULL WHERE posting_id = %s", (posting,)
    )
    connection.execute("DELETE FROM finance.order_billings WHERE posting_id = %s", (posting,))
    connection.execute("DELETE FROM finance.coding_history WHERE posting_id = %s", (posting,))
    return Reversal(id=reversal, reverses=posting, already_reversed=False)


def _write(connection: Connection[Any], entry: Registered, entries: list[Entry], key: str, today: date) -> int:
    text = f"Invoice {entry.number} of {entry.supplier_id}"
    posting = write_posting(connection, entries, key=key, dated=today, currency=entry.currency, text=text)
    connection.execute(
        "UPDATE finance.invoices SET posting_id = %s, posting_key = %s WHERE id = %s", (posting, key, entry.id)
    )
    return posting


def _check_same(entry: Registered, written: list[Entry], invoice: VettedInvoice, entries: list[Entry]) -> None:
    # Another invoice under the number must not be taken for the posted one: its amount would be paid.
    same = entry.currency == invoice.invoice.currency and _owed(written) == _owed(entries)
    if not same:
        message = f"Posting {entry.posting_id} already is invoice {entry.number}, but over another amount."
        raise refused("MU-DUPLICATE", message, "number")


def _owed(entries: list[Entry]) -> list[tuple[Decimal, Decimal]]:
    return sorted((entry.debit, entry.credit) for entry in entries if entry.cost_centre is None)


def _check_cost_centres(connection: Connection[Any], coding: CodedInvoice) -> None:
    rows = connection.execute(
        """SELECT code FROM unnest(%s::text[]) code
            WHERE code NOT IN (SELECT code FROM finance.cost_centres WHERE active) ORDER BY code""",
        (sorted({line.cost_centre for line in coding.lines}),),
    ).fetchall()
    if rows:
        unknown = ", ".join(row[0] for row in rows)
        raise refused("MU-COST-CENTRE", f"There is no cost centre {unknown} that may be charged.", "lines")


def _bill_order(connection: Connection[Any], posting: int, match: OrderMatch | None) -> None:
    if match is None or match.order is None or not match.lines:
        return
    # Another invoice of this order may have been posted since the match. Under the lock none can be posted between this
    # check and the insert.
    connection.execute("SELECT FROM finance.purchase_orders WHERE number = %s FOR UPDATE", (match.order,))
    order = load_order(connection, match.order)
    assert order is not None
    known = {
        discrepancy.line for discrepancy in match.discrepancies if discrepancy.kind in ("quantity", "not_received")
    }
    for new in billed_too_much(match.lines, order, match.tolerance):
        if new.line not in known:
            raise refused(
                "MU-ORDER-BILLED", f"Since the match another invoice of the order was posted: {new.message}", "lines"
            )
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO finance.order_billings (posting_id, invoice_line, order_number, order_line, quantity)"
            " VALUES (%s, %s, %s, %s, %s)",
            [(posting, line.line, match.order, line.order_line, line.quantity) for line in match.lines],
        )


def _remember_coding(
    connection: Connection[Any], invoice: VettedInvoice, coding: CodedInvoice, posting: int, today: date
) -> None:
    keys = {line.name: line.item_key for line in codable_lines(invoice.invoice)}
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO finance.coding_history (supplier_id, item_key, cost_centre, account, coded_on, posting_id)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (invoice.supplier.id, keys[line.line], line.cost_centre, line.account, today, posting)
                for line in coding.lines
            ],
        )


def _posting(vetted: VettedInvoice, posting: int, entries: list[Entry], *, already_posted: bool) -> Posting:
    invoice, supplier = vetted.invoice, vetted.supplier
    assert invoice.number
    assert invoice.issue_date
    assert invoice.currency
    assert invoice.totals.gross is not None
    means = invoice.payment.means_code if invoice.payment else None
    remittance = invoice.payment.remittance_information if invoice.payment else None
    return Posting(
        id=posting,
        already_posted=already_posted,
        number=invoice.number,
        supplier=supplier.id,
        supplier_name=supplier.name,
        gross=invoice.totals.gross,
        currency=invoice.currency,
        due=_due(invoice),
        due_date=invoice.due_date or invoice.issue_date + timedelta(days=supplier.payment_days),
        iban=_account(invoice, supplier),
        not_by_transfer=NOT_BY_TRANSFER.get(means or ""),
        remittance=remittance or invoice.number,
        entries=entries,
    )


def _due(invoice: Invoice) -> Decimal:
    totals = invoice.totals
    due = totals.due if totals.due is not None else (totals.gross or Decimal(0)) - (totals.prepaid or Decimal(0))
    return -due if invoice.is_credit_note else due


def _account(invoice: Invoice, supplier: Supplier) -> str | None:
    """The first account on the invoice that is the supplier's; if the invoice has none, the supplier's only one."""
    if invoice.ibans:
        return next((iban for iban in invoice.ibans if iban in supplier.ibans), None)
    return supplier.ibans[0] if len(supplier.ibans) == 1 else None
