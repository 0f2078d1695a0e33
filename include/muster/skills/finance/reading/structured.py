"""An invoice from XML, whichever of the two syntaxes it is in."""

from __future__ import annotations

from typing import Literal

from lxml import etree
from pydantic import ValidationError

from muster.errors import SetAside
from muster.findings import Finding
from muster.misfits import in_words
from muster.skills.finance.codes import CURRENCIES
from muster.skills.finance.invoice import Invoice
from muster.skills.finance.reading import cii, ubl
from muster.skills.finance.reading.source import refusal
from muster.skills.finance.reading.xml import parse

Syntax = Literal["ubl", "cii"]

_CURRENCY_RULES = {"currency": "BR-CL-04", "tax_currency": "BR-CL-05"}


def read_xml(data: bytes) -> tuple[Invoice, Syntax, list[Finding]]:
    """The invoice in an XML document, its syntax, and what reading noticed.

    Raises:
        SetAside: the XML is unsafe or malformed, is no invoice, or holds a value that is not what it must be.
    """
    root = parse(data)
    syntax = _syntax(root)
    problems: list[Finding] = []
    fields = (ubl if syntax == "ubl" else cii).read(root, problems)
    try:
        invoice = Invoice.model_validate(fields)
    except ValidationError as error:
        problems += [_from_validation(item["loc"], in_words(item)) for item in error.errors()]
    if problems:
        raise SetAside("The invoice holds values that cannot be read.", problems)
    return invoice, syntax, _currency_findings(root, invoice)


def _syntax(root: etree._Element) -> Syntax:
    if root.tag in ubl.ROOTS:
        return "ubl"
    if root.tag in cii.ROOTS:
        return "cii"
    raise refusal(
        "MU-FORMAT-UNKNOWN",
        f"The XML's root {etree.QName(root).localname} is neither a UBL 2.1 nor a UN/CEFACT CII invoice.",
    )


def _from_validation(location: tuple[int | str, ...], message: str) -> Finding:
    path = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in location).lstrip(".")
    rule = _CURRENCY_RULES.get(path, "MU-VALUE-INVALID")
    return Finding(rule=rule, message=message, path=path)


def _currency_findings(root: etree._Element, invoice: Invoice) -> list[Finding]:
    """Amounts name their currency too: the invoice's, or for one VAT total the accounting currency."""
    findings = []
    stated = {str(part.get("currencyID")).strip() for part in root.iterfind(".//*[@currencyID]")}
    for code in sorted(stated - {invoice.currency, invoice.tax_currency}):
        if code not in CURRENCIES:
            findings.append(
                Finding(rule="BR-CL-03", message=f"An amount is in {code!r}, which is no ISO 4217 currency.")
            )
        else:
            message = f"An amount is in {code}, while the invoice is in {invoice.currency}."
            findings.append(Finding(rule="MU-CURRENCY-MIXED", message=message))
    return findings
