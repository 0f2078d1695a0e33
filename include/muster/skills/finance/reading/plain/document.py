"""A plain PDF's fields put together: each is right, or it is listed as not found."""

from __future__ import annotations

import re
from collections.abc import Iterable
from datetime import date
from decimal import Decimal
from typing import TypeVar

from muster.skills.finance.invoice import Invoice, Party, PaymentInstructions, Totals
from muster.skills.finance.reading.plain import identity
from muster.skills.finance.reading.plain.amounts import amounts_in, currencies_in, currencies_meant
from muster.skills.finance.reading.plain.dates import Order, find_date, has_date, order_of, whole_date
from muster.skills.finance.reading.plain.labels import Hit, Labels
from muster.skills.finance.reading.plain.layout import Page
from muster.skills.finance.reading.plain.supplier import supplier
from muster.skills.finance.reading.plain.totals import read_totals

T = TypeVar("T")

FIELDS = ("number", "issue_date", "currency", "seller.name", "seller.vat_id", "totals.gross", "totals.net", "payment")
"""What is looked for; the share of it that is found is the confidence."""

_NUMBER = re.compile(r"#?\s?(?P<number>[A-Za-z0-9][A-Za-z0-9_./-]*(?: ?[/-] ?[A-Za-z0-9]+)*)")
_HASH = re.compile(r"#\s?(?P<number>[A-Za-z0-9][A-Za-z0-9_./-]{2,})")
_CREDIT = re.compile(
    r"^(credit note|credit memo|creditnota|creditfactuur|gutschrift|rechnungskorrektur|avoir|"
    r"nota de crédito|nota di credito|"
    r"factura rectificativa|kreditnota|kreditfaktura)\b",
    re.IGNORECASE,
)
_DAY_FIRST_WORDS = re.compile(
    r"\b(?:rechnung|facture|factuur|factura\b|fattura|fatura|faktura|lasku)|"
    r"\b(?:mwst|tva|btw|iva|moms|alv|gmbh|s\.?r\.?l|gstin)\b",
    re.IGNORECASE,
)
"""Words of languages, and of countries that write English, in which the day comes first."""


def read_plain(page: Page) -> tuple[Invoice, list[str]]:
    """The invoice as far as the page shows it beyond doubt, and the fields that were not found."""
    labels = Labels(page)
    text = page.text
    order = order_of(text) or ("day" if _DAY_FIRST_WORDS.search(text) else None)
    totals = read_totals(page, labels)
    seller = supplier(page)
    transfers = identity.accounts(page)
    invoice = Invoice(
        number=_number(page, labels),
        issue_date=_issue_date(labels, order),
        due_date=_one(_dates(labels, labels.of("due_date"), order)),
        type_code="381" if any(_CREDIT.match(cell.text) for cell in page.cells) else "380",
        currency=_currency(page, totals),
        order_reference=_one(_values(labels, labels.of("order"))),
        seller=Party(name=seller, vat_id=identity.vat_id(page, seller)),
        payment=PaymentInstructions(credit_transfers=transfers) if transfers else None,
        totals=totals,
    )
    return invoice, [path for path in FIELDS if _at(invoice, path) is None]


def _at(invoice: Invoice, path: str) -> object:
    value: object = invoice
    for name in path.split("."):
        value = getattr(value, name)
    return value


def _one(values: Iterable[T]) -> T | None:
    """The value all sources agree on."""
    distinct = set(values)
    return distinct.pop() if len(distinct) == 1 else None


def _number(page: Page, labels: Labels) -> str | None:
    if named := _values(labels, labels.of("number")):
        return _one(named)
    headings = [hit for hit in labels.of("bare_number") if hit.leads and labels.in_heading(hit)]
    beside = [hit for hit in labels.of("bare_number") if hit.leads and re.match(r"\s*[#:]", hit.cell.text[hit.end :])]
    if values := _values(labels, [*headings, *beside]):
        return _one(values)
    return _one(_hash_under_title(page, labels))


def _values(labels: Labels, hits: list[Hit]) -> list[str]:
    """What the labels say, where it has a digit and is neither a date nor an amount."""
    numbers = []
    for hit in hits:
        beside = labels.beside(hit)
        text = beside[0] if beside else labels.below(hit)
        if text and (value := _as_number(text)):
            numbers.append(value)
    return numbers


def _as_number(text: str) -> str | None:
    match = _NUMBER.match(text.strip())
    if match is None:
        return None
    number = match["number"].rstrip("./-")
    is_other = has_date(number) or whole_date(text, "day") or amounts_in(text[: match.end() + 3])
    if is_other or not re.search(r"\d", number) or len(number) < 2 or _goes_on(text.strip()[match.end() :]):
        return None
    return number


def _goes_on(rest: str) -> bool:
    """True when digits follow a space: one number torn in two by printing, or two numbers."""
    following = rest.split("  ", maxsplit=1)[0].split()
    return bool(following) and following[0].isalnum() and any(sign.isdigit() for sign in following[0])


def _hash_under_title(page: Page, labels: Labels) -> list[str]:
    """The number written as # 123 right under the word invoice."""
    numbers = []
    for hit in labels.of("bare_number"):
        under = page.below(hit.cell)
        if hit.leads and not hit.after.strip() and under and (match := _HASH.fullmatch(under.text.strip())):
            numbers += [number] if (number := _as_number(match["number"])) else []
    return numbers


def _issue_date(labels: Labels, order: Order | None) -> date | None:
    if named := labels.of("date"):
        return _one(_dates(labels, named, order))
    return _one(
        _dates(labels, [hit for hit in labels.of("bare_date") if hit.leads and _is_of_invoice(labels, hit)], order)
    )


def _is_of_invoice(labels: Labels, hit: Hit) -> bool:
    """False for the heading of a column of dates, unless the heading of the invoice's number is on the same line."""
    if labels.beside(hit):
        return True
    numbers = labels.of("number", "bare_number")
    return any(number.cell.line == hit.cell.line for number in numbers)


def _dates(labels: Labels, hits: list[Hit], order: Order | None) -> list[date]:
    dates = []
    for hit in hits:
        beside = "  ".join(labels.beside(hit))
        under = labels.below(hit) if not beside else None
        day = find_date(beside, order) if beside else whole_date(under, order) if under else None
        if day:
            dates.append(day)
    return dates


def _currency(page: Page, totals: Totals) -> str | None:
    """The currency beside the total, else the only one in the document."""
    if totals.gross is not None:
        lines = ["  ".join(cell.text for cell in line) for line in page.lines]
        lines = [line for line in lines if totals.gross in amounts_in(line)]
        beside = {code for line in lines for code in currencies_in(line)}
        if beside:
            return _one(beside)
        if possible := set().union(*(currencies_meant(line) for line in lines)):
            return _one(currencies_in(page.text) & possible)
    return _one(currencies_in(page.text))


def confidence(not_found: list[str]) -> Decimal:
    """The share of the fields that were found, in hundredths."""
    return (Decimal(len(FIELDS) - len(not_found)) / len(FIELDS)).quantize(Decimal("0.01"))
