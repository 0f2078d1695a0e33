"""What an invoice must say that came as a plain PDF or in a partial profile, outside EN 16931."""

from __future__ import annotations

from collections.abc import Iterator

from muster.skills.finance.invoice import Invoice
from muster.skills.finance.rules.rule import Breach, Rule, parts, required, whole
from muster.skills.finance.rules.sums import rounded

SOURCE = "Muster"


def _totals(invoice: Invoice) -> Iterator[Breach]:
    sums = invoice.totals
    if sums.net is not None and sums.vat is not None and sums.gross is not None:
        expected = rounded(sums.net + sums.vat)
        if rounded(sums.gross) != expected:
            yield Breach("totals.gross", {"expected": expected, "found": sums.gross})


RULES: tuple[Rule, ...] = (
    required("MU-NUMBER-MISSING", whole, "number", message="No invoice number was found."),
    required("MU-DATE-MISSING", whole, "issue_date", message="No invoice date was found."),
    required("MU-CURRENCY-MISSING", whole, "currency", message="No currency was found."),
    required("MU-SUPPLIER-MISSING", parts("seller"), "name", message="The supplier's name was not found."),
    required("MU-TOTAL-MISSING", parts("totals"), "gross", message="No total amount was found."),
    Rule("MU-TOTALS", "Net plus VAT makes {expected}, but the total is {found}.", _totals, source=SOURCE),
)
