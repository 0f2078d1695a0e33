"""The ledger: what entries an invoice makes, and how postings are written and read."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Sequence
from datetime import date
from decimal import Decimal
from typing import Any

from psycopg import Connection
from psycopg.rows import class_row
from pydantic import BaseModel, ConfigDict

from muster.errors import SetAside
from muster.findings import Finding
from muster.skills.finance.coding import CodedInvoice, CodedLine, codable_lines
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.money import cents, net_of, share
from muster.skills.finance.policy import Accounts

LARGEST = Decimal("99999999999999.99")
"""No amount, price or quantity beyond this is taken: the ledger's columns hold no more."""


class Entry(BaseModel):
    """One line of a posting: an amount in debit or in credit of an account."""

    model_config = ConfigDict(frozen=True)

    account: str
    cost_centre: str | None = None
    debit: Decimal = Decimal(0)
    credit: Decimal = Decimal(0)

    def mirrored(self) -> Entry:
        """The entry that takes this one back."""
        return self.model_copy(update={"debit": self.credit, "credit": self.debit})


def refused(rule: str, message: str, path: str) -> SetAside:
    """The error of an invoice that cannot be posted, with its finding."""
    return SetAside(message, [Finding(rule=rule, message=message, path=path)])


def entries_for(invoice: Invoice, coding: CodedInvoice, accounts: Accounts) -> list[Entry]:
    """The entries an invoice makes: expense and input VAT in debit, payables in credit; a credit note's are mirrored.

    Raises:
        SetAside: a line is not coded, or the totals cannot be posted.
    """
    net, vat, gross = postable_amounts(invoice)
    targets = _targets(invoice, coding, accounts)
    lines = codable_lines(invoice)
    # Allowances and charges of the whole document belong to its lines in proportion.
    beside = net - sum((line.net for line in lines), Decimal(0))
    amounts: dict[tuple[str, str | None], Decimal] = defaultdict(Decimal)
    for line, extra in zip(lines, share(beside, [line.net for line in lines]), strict=True):
        amounts[targets[line.name]] += line.net + extra
    amounts[accounts.input_vat, None] += vat
    amounts[accounts.payables, None] -= gross
    sign = -1 if invoice.is_credit_note else 1
    return [_entry(account, centre, sign * amount) for (account, centre), amount in amounts.items() if amount]


def postable_amounts(invoice: Invoice) -> tuple[Decimal, Decimal, Decimal]:
    """The amounts without VAT, of VAT and with it, of which one may be missing from the invoice.

    Raises:
        SetAside: the totals cannot be posted.
    """
    totals = invoice.totals
    if totals.gross is None or (totals.net is None and totals.vat is None):
        raise refused("MU-INCOMPLETE", "The invoice's totals are incomplete.", "totals")
    if any(abs(number) > LARGEST for number in _numbers(invoice)):
        raise refused("MU-TOO-LARGE", "An amount or a quantity is beyond anything that can be posted.", "totals")
    gross = totals.gross
    net = gross - totals.vat if totals.net is None and totals.vat is not None else totals.net
    assert net is not None
    vat = gross - net if totals.vat is None else totals.vat
    if net + vat != gross:
        raise refused("BR-CO-15", f"{net} without VAT and {vat} of VAT are not {gross}.", "totals.gross")
    if gross <= 0:
        message = f"A total of {gross} cannot be posted; a credit note has a type of its own."
        raise refused("MU-TOTAL-NEGATIVE", message, "totals.gross")
    if any(amount != cents(amount) for amount in (net, vat, *(net_of(line) for line in invoice.lines))):
        raise refused("BR-DEC-23", "An amount has more than two decimals.", "lines")
    return net, vat, gross


def _numbers(invoice: Invoice) -> Iterator[Decimal]:
    totals = invoice.totals
    yield from (amount for amount in (totals.net, totals.vat, totals.gross, totals.due, totals.prepaid) if amount)
    for line in invoice.lines:
        yield from (number for number in (line.net_amount, line.quantity, line.net_price) if number)
        if line.net_amount is None and line.quantity and line.net_price:
            yield line.quantity * line.net_price / (line.base_quantity or Decimal(1))


def write_posting(
    connection: Connection[Any],
    entries: Sequence[Entry],
    *,
    key: str,
    dated: date,
    currency: str,
    text: str,
    reverses: int | None = None,
) -> int:
    """Write a posting and its entries and give its id; the database refuses one that does not balance at commit."""
    row = connection.execute(
        "INSERT INTO finance.postings (reverses, dated, currency, text, key) VALUES (%s, %s, %s, %s, %s) RETURNING id",
        (reverses, dated, currency, text, key),
    ).fetchone()
    assert row is not None
    posting: int = row[0]
    # One transaction with the posting: that debit and credit are equal is checked when it is committed, not line by
    # line.
    with connection.cursor() as cursor:
        cursor.executemany(
            "INSERT INTO finance.entries (posting_id, line, account, cost_centre, debit, credit)"
            " VALUES (%s, %s, %s, %s, %s, %s)",
            [
                (posting, line, entry.account, entry.cost_centre, entry.debit, entry.credit)
                for line, entry in enumerate(entries, start=1)
            ],
        )
    return posting


def read_entries(connection: Connection[Any], posting: int) -> list[Entry]:
    """The entries of a posting, in order."""
    cursor = connection.cursor(row_factory=class_row(Entry)).execute(
        "SELECT account, cost_centre, debit, credit FROM finance.entries WHERE posting_id = %s ORDER BY line",
        (posting,),
    )
    return cursor.fetchall()


def _entry(account: str, cost_centre: str | None, amount: Decimal) -> Entry:
    debit, credit = (amount, Decimal(0)) if amount > 0 else (Decimal(0), -amount)
    return Entry(account=account, cost_centre=cost_centre, debit=debit, credit=credit)


def _targets(invoice: Invoice, coding: CodedInvoice, accounts: Accounts) -> dict[str, tuple[str, str | None]]:
    coded: dict[str, CodedLine] = {line.line: line for line in coding.lines}
    names = [line.name for line in codable_lines(invoice)]
    wrong = [f"line {name} has no cost centre" for name in names if name not in coded]
    wrong += [f"there is no line {name}" for name in coded if name not in names]
    wrong += [f"there are several lines {name}" for name in sorted(set(names)) if names.count(name) > 1]
    if wrong:
        raise refused("MU-COST-CENTRE", f"The coding does not fit the invoice: {'; '.join(wrong)}.", "lines")
    return {name: (coded[name].account or accounts.expense, coded[name].cost_centre) for name in names}
