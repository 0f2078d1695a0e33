"""Numbers that identify a party or an account: VAT ids, IBANs and BICs must be well formed."""

from __future__ import annotations

from collections.abc import Iterator

from schwifty import BIC, IBAN
from schwifty.exceptions import SchwiftyException
from stdnum.eu import vat
from stdnum.exceptions import ValidationError

from muster.skills.finance.codes import CREDIT_TRANSFER_MEANS
from muster.skills.finance.invoice import CreditTransfer, Invoice
from muster.skills.finance.rules.rule import OURS, Breach, Rule

_EU_PREFIXES = frozenset(vat.MEMBER_STATES) | {"el", "xi"}


def _vat_ids(invoice: Invoice) -> Iterator[Breach]:
    for name in ("seller", "buyer", "tax_representative"):
        party = getattr(invoice, name)
        if party and party.vat_id and not is_vat_id(party.vat_id):
            yield Breach(f"{name}.vat_id", {"value": party.vat_id})


def is_vat_id(value: str) -> bool:
    """True unless the VAT id of an EU country has the wrong form or check digit; others are not judged."""
    if value[:2].lower() not in _EU_PREFIXES:
        return True
    try:
        vat.validate(value)
    except ValidationError:
        return False
    return True


def is_iban(value: str) -> bool:
    """True for an IBAN of the right length for its country and with the right check digits."""
    try:
        IBAN(value)
    except SchwiftyException:
        return False
    return True


def is_bic(value: str) -> bool:
    """True for a well-formed BIC of eight or eleven characters."""
    try:
        BIC(value)
    except SchwiftyException:
        return False
    return True


def _transfers(invoice: Invoice) -> Iterator[tuple[str, CreditTransfer]]:
    for index, part in enumerate(invoice.payment.credit_transfers if invoice.payment else []):
        yield f"payment.credit_transfers[{index}]", part


def _ibans(invoice: Invoice) -> Iterator[Breach]:
    looks_like_one = set(invoice.ibans)
    sepa = invoice.payment is not None and invoice.payment.means_code in CREDIT_TRANSFER_MEANS - {"30"}
    for path, transfer in _transfers(invoice):
        account = transfer.account
        if account and (sepa or account in looks_like_one) and not is_iban(account):
            yield Breach(f"{path}.account", {"value": account})


def _bics(invoice: Invoice) -> Iterator[Breach]:
    for path, transfer in _transfers(invoice):
        if transfer.bic and not is_bic(transfer.bic):
            yield Breach(f"{path}.bic", {"value": transfer.bic})


RULES: tuple[Rule, ...] = (
    Rule("MU-VAT-ID-INVALID", "The VAT id {value} is not well formed.", _vat_ids, "warning", OURS),
    Rule("MU-IBAN-INVALID", "The account {value} is not a valid IBAN.", _ibans, source=OURS),
    Rule("MU-BIC-INVALID", "The BIC {value} is not well formed.", _bics, "warning", OURS),
)
