"""The register of invoices: every invoice once, whoever received it and however often."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date
from decimal import Decimal
from pathlib import PurePosixPath
from typing import Any
from urllib.parse import unquote, urlsplit

from psycopg import Connection
from psycopg.rows import class_row

from muster.errors import SetAside
from muster.findings import Finding
from muster.skills.finance.invoice import ReadInvoice
from muster.skills.registry import SkillContext

LONGEST_NUMBER = 200
"""An invoice number with more characters is none; the register's index would not hold it either."""

_COLUMNS = "id, supplier_id, number, issue_date, gross, currency, sha256, source, received_by, posting_id, posting_key"


@dataclass(frozen=True)
class Registered:
    """One invoice in the register."""

    id: int
    supplier_id: str
    number: str
    issue_date: date
    gross: Decimal
    currency: str
    sha256: str
    source: str
    received_by: str
    """Run and position of the item that received it last."""
    posting_id: int | None
    posting_key: str | None
    """The work that posted it."""

    @property
    def received_in(self) -> str:
        """The run that received it last."""
        return self.received_by.rpartition("#")[0]


def receiver(context: SkillContext) -> str:
    """Who receives an invoice: the same in every step and attempt that handles the same item."""
    return f"{context.run}#{'' if context.index is None else context.index}"


def file_name(uri: str) -> str:
    """The name people know a file by: the last part of its URI."""
    return PurePosixPath(unquote(urlsplit(uri).path)).name or uri


def number_key(number: str) -> str:
    """An invoice number as it identifies the invoice: case and spaces do not count, punctuation does."""
    return re.sub(r"\s", "", unicodedata.normalize("NFKC", number)).upper()


def register(connection: Connection[Any], read: ReadInvoice, supplier: str, by: str) -> tuple[Registered, bool]:
    """The invoice's entry, locked until the transaction ends, and whether it is new.

    Of two transactions that register the same invoice at once, the second waits for the first.

    Raises:
        SetAside: the invoice lacks a number, a date, a gross amount or a currency, or its number is endless.
    """
    invoice = read.invoice
    missing = list(_missing(read))
    if missing:
        raise SetAside(f"{read.source} cannot be entered in the register of invoices.", missing)
    assert invoice.number is not None
    values = (
        supplier, invoice.number, number_key(invoice.number), invoice.issue_date, invoice.totals.gross,
        invoice.currency, read.sha256, read.source, by,
    )  # fmt: skip
    cursor = connection.cursor(row_factory=class_row(Registered))
    inserted = cursor.execute(
        f"""INSERT INTO finance.invoices (supplier_id, number, number_key, issue_date, gross, currency, sha256, source,
                                          received_by)
            VALUES (%s, %s, %s, %s, %s, %s, %s, %s, %s) ON CONFLICT ON CONSTRAINT invoice_once DO NOTHING
            RETURNING {_COLUMNS}""",
        values,
    ).fetchone()
    if inserted is not None:
        return inserted, True
    # The insert has waited for a transaction that entered the same invoice. Its row is committed now, and never goes.
    existing = cursor.execute(
        f"SELECT {_COLUMNS} FROM finance.invoices WHERE supplier_id = %s AND number_key = %s FOR UPDATE",
        (supplier, values[2]),
    ).fetchone()
    assert existing is not None, "rows of the register are never deleted"
    return existing, False


def take_over_from(connection: Connection[Any], entry: Registered, read: ReadInvoice, by: str) -> None:
    """Let the entry of an invoice not yet posted describe this copy of it."""
    invoice = read.invoice
    connection.execute(
        """UPDATE finance.invoices SET number = %s, issue_date = %s, gross = %s, currency = %s,
                  sha256 = %s, source = %s, received_by = %s
            WHERE id = %s AND posting_id IS NULL""",
        (
            invoice.number, invoice.issue_date, invoice.totals.gross, invoice.currency, read.sha256, read.source, by,
            entry.id,
        ),
    )  # fmt: skip


def similar(connection: Connection[Any], read: ReadInvoice, supplier: str) -> list[Registered]:
    """Other entries of the supplier that could be the same invoice, and any of the very same file."""
    invoice = read.invoice
    key = number_key(invoice.number or "")
    return (
        connection.cursor(row_factory=class_row(Registered))
        .execute(
            f"""SELECT {_COLUMNS} FROM finance.invoices
                 WHERE NOT (supplier_id = %(supplier)s AND number_key = %(key)s)
                   AND (sha256 = %(sha256)s
                        OR supplier_id = %(supplier)s AND number_core = %(core)s AND number_core <> ''
                        OR supplier_id = %(supplier)s AND gross = %(gross)s AND issue_date = %(issued)s
                           AND currency = %(currency)s)
                 ORDER BY id LIMIT 20""",
            {
                "supplier": supplier, "key": key, "core": re.sub(r"[^A-Z0-9]", "", key).lstrip("0"),
                "sha256": read.sha256, "gross": invoice.totals.gross, "issued": invoice.issue_date,
                "currency": invoice.currency,
            },
        )
        .fetchall()
    )  # fmt: skip


def _missing(read: ReadInvoice) -> Iterator[Finding]:
    invoice = read.invoice
    fields = {
        "number": invoice.number, "issue_date": invoice.issue_date, "totals.gross": invoice.totals.gross,
        "currency": invoice.currency,
    }  # fmt: skip
    for path, value in fields.items():
        if value is None or value == "":
            yield Finding(rule="MU-INCOMPLETE", message=f"The invoice has no {path.rpartition('.')[2]}.", path=path)
    if invoice.number and len(invoice.number) > LONGEST_NUMBER:
        message = f"The invoice's number has {len(invoice.number)} characters, over {LONGEST_NUMBER}."
        yield Finding(rule="MU-NUMBER-TOO-LONG", message=message, path="number")
