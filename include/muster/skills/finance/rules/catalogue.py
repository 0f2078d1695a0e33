"""Which rules apply to which invoice, one module of rules for each family."""

from __future__ import annotations

from datetime import date

from muster.findings import Finding
from muster.skills.finance.invoice import ReadInvoice
from muster.skills.finance.rules import codes, decimals, mandatory, parties, sanity, sums, text, vat
from muster.skills.finance.rules.rule import Rule

EN_16931: tuple[Rule, ...] = (*mandatory.RULES, *sums.RULES, *vat.RULES, *decimals.RULES, *codes.RULES)
"""The standard's own rules."""

_WITHOUT_LINES = ("urn:factur-x.eu:1p0:minimum", "urn:factur-x.eu:1p0:basicwl", "urn:zugferd.de:2p0:minimum")


def rules_for(read: ReadInvoice, *, today: date, expected_currency: str | None = None) -> tuple[Rule, ...]:
    """The rules that apply to an invoice of this format and profile."""
    ours = (*sanity.rules(today, expected_currency), *parties.RULES)
    if read.format == "pdf" or is_partial(read.profile):
        return (*text.RULES, *ours)
    return (*EN_16931, *ours)


def is_partial(profile: str | None) -> bool:
    """True for Factur-X profiles that leave out the lines and so are no EN 16931 invoice."""
    return profile is not None and profile.lower().startswith(_WITHOUT_LINES)


def check(read: ReadInvoice, *, today: date, expected_currency: str | None = None) -> list[Finding]:
    """Every breach of every rule that applies, in the order of the rules."""
    rules = rules_for(read, today=today, expected_currency=expected_currency)
    return [finding for rule in rules for finding in rule.findings(read.invoice)]
