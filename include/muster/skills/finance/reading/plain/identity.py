"""Numbers that prove themselves by their check digits: VAT ids, IBANs, and BICs beside them."""

from __future__ import annotations

import re

from muster.skills.finance.invoice import CreditTransfer
from muster.skills.finance.reading.plain.layout import Cell, Page
from muster.skills.finance.reading.plain.supplier import buyer_cells
from muster.skills.finance.rules.parties import is_bic, is_iban, is_vat_id

_OTHERS = re.compile(
    r"\b(your|you|customer|buyer|client|bill to|ihre?|kunde|kunden|uw|klant|votre|vos|acheteur|su|cliente|"
    r"vostr[oa]|"
    r"acquirente|debit|debited|abgebucht|lastschrift|abbuchung|prelev\w*|prélev\w*|incasso|domicili\w*|"
    r"addebit\w*)\b",
    re.IGNORECASE,
)
"""Words by which a number is the buyer's, not the seller's."""

_VAT_ID = re.compile(
    r"(?<![A-Z0-9])(AT ?U|BE|BG|CY|CZ|DE|DK|EE|EL|ES|FI|FR|GR|HR|HU|IE|IT|LT|LU|LV|MT|NL|PL|PT|RO|SE|SI|SK|"
    r"XI)"
    r"[ .-]?([A-Z0-9](?:[ .-]?[A-Z0-9+*]){6,13})(?![A-Z0-9])"
)
_IBAN = re.compile(r"(?<![A-Z0-9])([A-Z]{2}\d{2}(?: ?[A-Z0-9]){11,32})")
_BIC = re.compile(r"(?<![A-Z0-9])([A-Z]{4}[A-Z]{2}[A-Z0-9]{2}(?:[A-Z0-9]{3})?)(?![A-Za-z0-9])")
_BIC_LABEL = re.compile(r"\b(?:bic|swift)\b(?:[ /-]*(?:swift|bic|code|nr|no))*", re.IGNORECASE)


def vat_id(page: Page, seller: str | None) -> str | None:
    """The seller's VAT id: the only valid one, if something ties it to the seller and nothing to the buyer."""
    buyers = {(cell.line, cell.column) for _, cell in buyer_cells(page)}
    ids = {
        (value, cell)
        for cell in page.cells
        for value in _vat_ids(cell.text)
        if not _is_others(page, cell, value) and (cell.line, cell.column) not in buyers
    }
    if len({value for value, _ in ids}) != 1:
        return None
    return next((value for value, cell in ids if _is_sellers(page, cell, value, seller)), None)


def _is_sellers(page: Page, cell: Cell, value: str, seller: str | None) -> bool:
    """True in the foot of a page, among the seller's particulars, or in the country of the account."""
    if any(transfer.account and transfer.account[:2] == value[:2] for transfer in accounts(page)):
        return True
    if seller and any(other.text.startswith(seller) and 0 <= cell.line - other.line <= 10 for other in page.cells):
        return True
    foot = page.lines[-_FOOT_LINES:]
    return len(page.lines) > 3 * _FOOT_LINES and any(cell in line for line in foot)


def _vat_ids(text: str) -> set[str]:
    ids = set()
    for match in _VAT_ID.finditer(text):
        compact = re.sub(r"[ .-]", "", match[0])
        # A number may be followed by words that look like more of it: drop them one by one.
        for end in range(len(compact), 7, -1):
            if is_vat_id(compact[:end]) and _ends_at_a_gap(match[0], end):
                ids.add(compact[:end])
                break
    return ids


def _ends_at_a_gap(text: str, count: int) -> bool:
    """True when the first `count` letters and digits of the text end at a space or at its end."""
    seen = 0
    for place, sign in enumerate(text):
        seen += sign not in " .-"
        if seen == count:
            return place + 1 == len(text) or text[place + 1] in " .-"
    return False


def _is_others(page: Page, cell: Cell, value: str) -> bool:
    squeezed = re.sub(r"[ .-]", "", cell.text)
    before = squeezed[: squeezed.find(value)]
    left = " ".join(other.text for other in page.lines[cell.line][: cell.column])
    spaced = cell.text[: len(before) + before.count(" ") + 6]
    return bool(_OTHERS.search(spaced) or (not re.search(r"[A-Za-z]{2}", before) and _OTHERS.search(left)))


_FOOT_LINES = 6


def accounts(page: Page) -> list[CreditTransfer]:
    """The accounts to pay to, in reading order, each with the BIC when the document gives one for all."""
    ibans: list[str] = []
    for cell in page.cells:
        above = page.lines[cell.line - 1] if cell.line else []
        around = [cell.text, *(other.text for other in above if other.overlap(cell) and other.page == cell.page)]
        if not any(_OTHERS.search(text) for text in around):
            ibans += [iban for iban in _ibans(cell.text) if iban not in ibans]
    bics = _bics(page)
    bic = bics.pop() if len(bics) == 1 and len(ibans) == 1 else None
    return [CreditTransfer(account=iban, bic=bic) for iban in ibans]


def _ibans(text: str) -> list[str]:
    ibans = []
    for match in _IBAN.finditer(text):
        compact = match[1].replace(" ", "")
        valid = (compact[:end] for end in range(min(len(compact), 34), 14, -1) if is_iban(compact[:end]))
        if iban := next(valid, None):
            ibans.append(iban)
    return ibans


def _bics(page: Page) -> set[str]:
    bics = set()
    for line in page.lines:
        text = "  ".join(cell.text for cell in line)
        for label in _BIC_LABEL.finditer(text):
            match = _BIC.search(text, label.end(), label.end() + 16)
            if match and is_bic(match[1]):
                bics.add(match[1])
    return bics
