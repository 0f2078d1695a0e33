"""Credit transfers as a SEPA file: ISO 20022 pain.001.001.09, valid against its schema."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from decimal import Decimal
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING

from muster.errors import PermanentError
from muster.skills.finance.money import cents
from muster.skills.finance.policy import Company

if TYPE_CHECKING:
    from lxml.etree import XMLSchema, _Element

SCHEMA = "pain.001.001.09"
NAMESPACE = {"p": f"urn:iso:std:iso:20022:tech:xsd:{SCHEMA}"}
LARGEST = Decimal("999999999.99")
"""The largest amount of one transfer within SEPA."""

_GERMAN = str.maketrans({"ä": "ae", "ö": "oe", "ü": "ue", "Ä": "Ae", "Ö": "Oe", "Ü": "Ue", "ß": "ss", "&": "+"})


@dataclass(frozen=True, kw_only=True)
class Transfer:
    """One payment to make."""

    end_to_end_id: str
    name: str
    iban: str
    amount: Decimal
    """In euros."""
    remittance: str
    execution_date: date


def sepa_text(text: str, length: int) -> str:
    """`text` in the characters every bank takes, cut to `length`."""
    from text_unidecode import unidecode

    latin = unidecode(text.translate(_GERMAN))
    return " ".join(re.sub(r"[^A-Za-z0-9/?:().,'+ -]", " ", latin).split())[:length].strip() or "NOTPROVIDED"


def credit_transfer(company: Company, transfers: Sequence[Transfer], *, message_id: str, created: datetime) -> str:
    """The file that orders the transfers: the same input gives the same bytes.

    Raises:
        PermanentError: the company has no account, or what was written does not fit the schema.
    """
    from lxml import etree
    from sepaxml import SepaTransfer

    if company.iban is None:
        raise PermanentError("The company has no account to pay from.", remedy="Set finance.company.iban.")
    payer = {"name": sepa_text(company.name, 70), "IBAN": company.iban, "batch": True, "currency": "EUR"}
    writer = SepaTransfer(payer | ({"BIC": company.bic} if company.bic else {}), schema=SCHEMA, clean=False)
    for transfer in transfers:
        writer.add_payment(_payment(transfer))
    root = etree.fromstring(writer.export(validate=False), etree.XMLParser(resolve_entities=False, no_network=True))
    _make_reproducible(root, message_id, created)
    _name_missing_bank(root)
    schema = _schema()
    if not schema.validate(root):
        raise PermanentError(f"The payment file does not fit {SCHEMA}: {schema.error_log}.")
    return etree.tostring(root, xml_declaration=True, encoding="UTF-8", pretty_print=True).decode()


def _payment(transfer: Transfer) -> dict[str, object]:
    if not 0 < transfer.amount <= LARGEST or transfer.amount != cents(transfer.amount):
        raise PermanentError(f"{transfer.amount} EUR cannot be transferred.")
    return {
        "name": sepa_text(transfer.name, 70),
        "IBAN": transfer.iban,
        "amount": int(transfer.amount * 100),
        "execution_date": transfer.execution_date,
        "description": sepa_text(transfer.remittance, 140),
        "endtoend_id": transfer.end_to_end_id,
    }


def _make_reproducible(root: _Element, message_id: str, created: datetime) -> None:
    # The writer takes ids and time from chance and clock. Ours name the work, so that a bank that is given the
    # file twice recognises the message it already has.
    _set_text(root, ".//p:GrpHdr/p:MsgId", message_id)
    _set_text(root, ".//p:GrpHdr/p:CreDtTm", created.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ"))
    for number, batch in enumerate(root.iterfind(".//p:PmtInf", NAMESPACE), start=1):
        _set_text(batch, "p:PmtInfId", f"{message_id}-{number}")


def _set_text(element: _Element, path: str, text: str) -> None:
    target = element.find(path, NAMESPACE)
    assert target is not None, f"the writer left out {path}"
    target.text = text


def _name_missing_bank(root: _Element) -> None:
    # The schema allows an empty bank, but by the rulebook it must say that none is given.
    from lxml import etree

    for bank in root.iterfind(".//p:DbtrAgt/p:FinInstnId", NAMESPACE):
        if not len(bank):
            other = etree.SubElement(bank, f"{{{NAMESPACE['p']}}}Othr")
            etree.SubElement(other, f"{{{NAMESPACE['p']}}}Id").text = "NOTPROVIDED"


@cache
def _schema() -> XMLSchema:
    from lxml import etree

    return etree.XMLSchema(etree.fromstring((files("sepaxml") / "schemas" / f"{SCHEMA}.xsd").read_bytes()))
