"""The amounts of a plain invoice: found by their labels, kept only when they agree with each other."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal

from muster.skills.finance.invoice import Totals
from muster.skills.finance.reading.plain.amounts import amounts_in, percents_in, whole_amount
from muster.skills.finance.reading.plain.labels import Hit, Labels
from muster.skills.finance.reading.plain.layout import Page

_AMOUNT_FIELDS = frozenset({"gross", "due", "total", "net", "tax"})
_NEAR = Decimal("0.02")
"""How far two roundings of the same amount may lie apart."""


@dataclass
class Evidence:
    """What the labels of a document say its amounts are."""

    gross: set[Decimal] = field(default_factory=set)
    due: set[Decimal] = field(default_factory=set)
    total: set[Decimal] = field(default_factory=set)
    net: set[Decimal] = field(default_factory=set)
    tax: set[Decimal] = field(default_factory=set)
    triples: set[tuple[Decimal, Decimal, Decimal]] = field(default_factory=set)
    """Net, VAT and gross that stand side by side, add up, and fit a VAT rate the document names."""
    rates: set[Decimal] = field(default_factory=set)
    largest: Decimal = Decimal(0)
    prepaid: bool = False
    """True when the document speaks of something already paid."""


def read_totals(page: Page, labels: Labels) -> Totals:
    """The totals that are beyond doubt."""
    evidence = gather(page, labels)
    gross = _gross(evidence)
    if gross is None:
        return Totals()
    net, vat = _split(evidence, gross)
    due = next(iter(evidence.due)) if len(evidence.due) == 1 else None
    return Totals(gross=gross, net=net, vat=vat, due=due if due is not None and due <= gross else None)


def gather(page: Page, labels: Labels) -> Evidence:
    """Everything the document's labels say about its amounts."""
    evidence = Evidence()
    text = page.text
    evidence.rates = set(percents_in(text))
    evidence.largest = max((abs(amount) for amount in amounts_in(text)), default=Decimal(0))
    for hit in labels.of(*_AMOUNT_FIELDS):
        if hit.field in ("total", "tax", "net") and not _stands_alone(hit):
            continue
        amount = _amount(labels, hit, evidence)
        if amount is not None:
            getattr(evidence, hit.field).add(amount)
    for line in page.lines:
        evidence.triples |= _triples(" ".join(cell.text for cell in line), evidence.rates)
    evidence.prepaid = any(
        "paid" in hit.cell.text.lower() or hit.field == "due" for hit in labels.of("not_total", "due")
    )
    return evidence


def _stands_alone(hit: Hit) -> bool:
    # Words as common as these also occur in sentences. A label begins its cell or follows another value.
    before = hit.cell.text[: hit.start].rstrip()
    return hit.leads or before.endswith((":", "%", "+")) or bool(amounts_in(before[-14:]))


def _amount(labels: Labels, hit: Hit, evidence: Evidence) -> Decimal | None:
    """The one amount that belongs to a label, beside it or below it."""
    beside = amounts_in("  ".join(labels.beside(hit)))
    if len(set(beside)) == 1:
        return beside[0]
    if hit.field == "tax" and len(beside) == 2:
        return _tax_of_pair(beside[0], beside[1], evidence)
    if not beside and _heads_totals(labels, hit) and (under := labels.below(hit)) is not None:
        return whole_amount(under)
    return None


def _heads_totals(labels: Labels, hit: Hit) -> bool:
    """True in a row of headings over one row of totals; the headings of a table of items do not count."""
    line = labels.page.lines[hit.cell.line]
    fields = [
        labels.by_cell[cell.line, cell.column][0].field if (cell.line, cell.column) in labels.by_cell else ""
        for cell in line
    ]
    under = labels.page.below(hit.cell)
    more = labels.page.below(under) if under else None
    return len(line) > 1 and {*fields} <= _AMOUNT_FIELDS and (more is None or whole_amount(more.text) is None)


def _tax_of_pair(base: Decimal, tax: Decimal, evidence: Evidence) -> Decimal | None:
    """The VAT where a line gives both the amount it is charged on and the VAT itself."""
    if any(abs(base * rate / 100 - tax) <= _NEAR for rate in evidence.rates):
        return tax
    return None


def _triples(line: str, rates: set[Decimal]) -> set[tuple[Decimal, Decimal, Decimal]]:
    amounts = amounts_in(line)
    return {
        (net, vat, gross)
        for net, vat, gross in zip(amounts, amounts[1:], amounts[2:], strict=False)
        if net + vat == gross and net > 0 and any(abs(net * rate / 100 - vat) <= _NEAR for rate in rates)
    }


def _gross(evidence: Evidence) -> Decimal | None:
    """The total with VAT.

    A label that says so is believed when it is the only one, or when net and VAT confirm it. The bare word
    total is believed only when the amounts confirm it, or nothing is larger and no VAT is named.
    """
    if len(evidence.gross) == 1:
        gross = next(iter(evidence.gross))
        return gross if _plausible(evidence, gross) else None
    candidates = evidence.gross or evidence.total | evidence.due
    confirmed = {gross for gross in candidates if _confirmed(evidence, gross)}
    if len(confirmed) == 1:
        return confirmed.pop()
    if confirmed or evidence.gross:
        return None
    for weaker in (evidence.total, evidence.due):
        if len(weaker) == 1 and not evidence.tax - {Decimal(0)} and not evidence.triples:
            gross = next(iter(weaker))
            agrees = not evidence.due or evidence.due == {gross}
            if abs(gross) == evidence.largest and agrees and not (evidence.net - {gross}):
                return gross
    return None


def _plausible(evidence: Evidence, gross: Decimal) -> bool:
    """False when the labels' other amounts speak against this one."""
    if _confirmed(evidence, gross):
        return True
    # With net and VAT both known and neither adding up to it, something was misread.
    if evidence.net and evidence.tax:
        return False
    return not any(abs(other) > abs(gross) for other in evidence.total | evidence.due | evidence.net)


def _confirmed(evidence: Evidence, gross: Decimal) -> bool:
    return bool(_splits(evidence, gross)) or _is_inclusive(evidence, gross)


def _splits(evidence: Evidence, gross: Decimal) -> set[tuple[Decimal, Decimal]]:
    """The pairs of net and VAT that add up to the gross amount."""
    pairs = {(net, vat) for net in evidence.net for vat in evidence.tax if net + vat == gross}
    pairs |= {(net, vat) for net, vat, total in evidence.triples if total == gross}
    if len(evidence.tax) > 1:
        vat = sum(evidence.tax, Decimal(0))
        pairs |= {(net, vat) for net in evidence.net if net + vat == gross}
    return pairs


def _is_inclusive(evidence: Evidence, gross: Decimal) -> bool:
    """True when the only VAT amount is what a named rate takes out of the gross amount."""
    if len(evidence.tax) != 1:
        return False
    tax = next(iter(evidence.tax))
    return tax != 0 and any(rate and abs(gross * rate / (100 + rate) - tax) <= _NEAR for rate in evidence.rates)


def _split(evidence: Evidence, gross: Decimal) -> tuple[Decimal | None, Decimal | None]:
    """Net and VAT, when there is one way to split the gross amount."""
    splits = _splits(evidence, gross)
    # A rounding or a discount may give several pairs, and then no label tells which one is right.
    if len(splits) == 1:
        return splits.pop()
    if splits:
        return None, None
    if evidence.tax == {Decimal(0)} and not (evidence.net - {gross}):
        return gross, Decimal(0)
    if _is_inclusive(evidence, gross) and not evidence.net:
        vat = next(iter(evidence.tax))
        return gross - vat, vat
    return None, None
