"""What an invoice must say that came as a plain PDF, or in a partial profile that EN 16931 does not cover."""

from __future__ import annotations

from collections.abc import Iterator

from muster.skills.finance.invoice import Invoice
from muster.skills.finance.money import cents
from muster.skills.finance.rules.rule import OURS, Breach, Rule, parts, required, whole


def _totals(invoice: Invoice) -> Iterator[Breach]:
    sums = invoice.totals
    if sums.net is not None and sums.vat is not None and sums.gross is not None:
        expected = cents(sums.net + sums.vat)
        if cents(sums.gross) != expected:
            yield Breach("totals.gross", {"expected": expected, "found": sums.gross})


RULES: tuple[Rule, ...] = (
    required("MU-NUMBER-MISSING", whole, "number", message="No invoice number was found."),
    required("MU-DATE-MISSING", whole, "issue_date", message="No invoice date was found."),
    required("MU-CURRENCY-MISSING", whole, "currency", message="No currency was found."),
    required("MU-SUPPLIER-MISSING", parts("seller"), "name", message="The supplier's name was not found."),
    required("MU-TOTAL-MISSING", parts("totals"), "gross", message="No total amount was found."),
    Rule("MU-TOTALS", "Net plus VAT makes {expected}, but the total is {found}.", _totals, source=OURS),
)
