"""The invoice, following the semantic model of EN 16931: the same whatever syntax it arrived in.

Fields that the standard makes mandatory are optional here, so that an invoice that lacks one can be read,
checked and shown with its finding. `BT-n` is the standard's number of a term, `BG-n` of a group.
"""

from __future__ import annotations

import re
from datetime import date
from decimal import Decimal
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

from muster.findings import Finding
from muster.skills.finance.codes import CREDIT_NOTE_TYPES, CURRENCIES


def _known_currency(value: str) -> str:
    if value not in CURRENCIES:
        raise ValueError(f"{value!r} is not an ISO 4217 currency code")
    return value


Currency = Annotated[str, AfterValidator(_known_currency)]
"""An ISO 4217 alphabetic code."""

SourceFormat = Literal["ubl", "cii", "hybrid", "pdf"]
"""UBL 2.1 XML, UN/CEFACT CII XML, a PDF with embedded XML (Factur-X, ZUGFeRD), or a PDF with text only."""


class Term(BaseModel):
    """Base of every part of an invoice: immutable, and without unknown keys."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Identifier(Term):
    """An identifier with the scheme it belongs to."""

    value: str
    scheme: str | None = None
    """The scheme's code, for example `0088` for a GLN."""
    scheme_version: str | None = None


class Address(Term):
    """A postal address (BG-5, BG-8, BG-12, BG-15)."""

    line_1: str | None = None
    """BT-35, BT-50, BT-64, BT-75: usually street and number."""
    line_2: str | None = None
    """BT-36, BT-51, BT-65, BT-76."""
    line_3: str | None = None
    """BT-162 to BT-165."""
    city: str | None = None
    """BT-37, BT-52, BT-66, BT-77."""
    postal_code: str | None = None
    """BT-38, BT-53, BT-67, BT-78."""
    subdivision: str | None = None
    """BT-39, BT-54, BT-68, BT-79: region, county, state."""
    country: str | None = None
    """BT-40, BT-55, BT-69, BT-80: ISO 3166-1 alpha-2."""


class Contact(Term):
    """A person or department to ask (BG-6, BG-9)."""

    name: str | None = None
    """BT-41, BT-56."""
    telephone: str | None = None
    """BT-42, BT-57."""
    email: str | None = None
    """BT-43, BT-58."""


class Party(Term):
    """Seller (BG-4), buyer (BG-7), payee (BG-10) or the seller's tax representative (BG-11)."""

    name: str | None = None
    """BT-27, BT-44, BT-59, BT-62: the full legal name."""
    trading_name: str | None = None
    """BT-28, BT-45."""
    identifiers: list[Identifier] = Field(default_factory=list)
    """BT-29, BT-46, BT-60."""
    legal_registration: Identifier | None = None
    """BT-30, BT-47, BT-61."""
    vat_id: str | None = None
    """BT-31, BT-48, BT-63, with its country prefix."""
    tax_number: str | None = None
    """BT-32: the seller's local tax registration."""
    legal_information: str | None = None
    """BT-33: further legal particulars of the seller."""
    electronic_address: Identifier | None = None
    """BT-34, BT-49."""
    address: Address | None = None
    contact: Contact | None = None


class Note(Term):
    """A free text about the whole invoice (BG-1)."""

    text: str
    """BT-22."""
    subject_code: str | None = None
    """BT-21: UNTDID 4451."""


class PrecedingInvoice(Term):
    """An earlier invoice this one refers to (BG-3)."""

    number: str | None = None
    """BT-25."""
    issue_date: date | None = None
    """BT-26."""


class Period(Term):
    """An invoicing period (BG-14, BG-26), both days included."""

    start: date | None = None
    """BT-73, BT-134."""
    end: date | None = None
    """BT-74, BT-135."""


class Delivery(Term):
    """Where and when the goods or services went (BG-13)."""

    name: str | None = None
    """BT-70: the party delivered to."""
    location: Identifier | None = None
    """BT-71."""
    delivery_date: date | None = None
    """BT-72."""
    address: Address | None = None
    """BG-15."""


class CreditTransfer(Term):
    """An account to pay to (BG-17)."""

    account: str | None = None
    """BT-84: the IBAN, without spaces, or a national account number."""
    account_name: str | None = None
    """BT-85."""
    bic: str | None = None
    """BT-86."""


class PaymentCard(Term):
    """The card the invoice was paid with (BG-18)."""

    number: str | None = None
    """BT-87: the last digits."""
    holder: str | None = None
    """BT-88."""


class DirectDebit(Term):
    """How the seller collects the amount (BG-19)."""

    mandate_reference: str | None = None
    """BT-89."""
    creditor_identifier: str | None = None
    """BT-90."""
    debited_account: str | None = None
    """BT-91: the buyer's IBAN."""


class PaymentInstructions(Term):
    """How to pay (BG-16)."""

    means_code: str | None = None
    """BT-81: UNTDID 4461, for example `58` for a SEPA credit transfer."""
    means_text: str | None = None
    """BT-82."""
    remittance_information: str | None = None
    """BT-83: the reference to give with the payment."""
    credit_transfers: list[CreditTransfer] = Field(default_factory=list)
    card: PaymentCard | None = None
    direct_debit: DirectDebit | None = None


class AllowanceCharge(Term):
    """A deduction or an addition, of the document (BG-20, BG-21) or of a line (BG-27, BG-28)."""

    amount: Decimal | None = None
    """BT-92, BT-99, BT-136, BT-141: without VAT, never signed by kind."""
    base_amount: Decimal | None = None
    """BT-93, BT-100, BT-137, BT-142."""
    percentage: Decimal | None = None
    """BT-94, BT-101, BT-138, BT-143: 20 means 20 %."""
    vat_category: str | None = None
    """BT-95, BT-102: UNCL 5305; of the document only."""
    vat_rate: Decimal | None = None
    """BT-96, BT-103: 19 means 19 %; of the document only."""
    reason: str | None = None
    """BT-97, BT-104, BT-139, BT-144."""
    reason_code: str | None = None
    """BT-98, BT-105, BT-140, BT-145."""


class VatBreakdown(Term):
    """What one VAT category and rate amounts to (BG-23)."""

    taxable_amount: Decimal | None = None
    """BT-116."""
    tax_amount: Decimal | None = None
    """BT-117."""
    category: str | None = None
    """BT-118: UNCL 5305, for example `S`."""
    rate: Decimal | None = None
    """BT-119: 19 means 19 %."""
    exemption_reason: str | None = None
    """BT-120."""
    exemption_reason_code: str | None = None
    """BT-121."""


class Totals(Term):
    """The document's sums (BG-22), in the invoice's currency."""

    line_total: Decimal | None = None
    """BT-106: sum of the lines' net amounts."""
    allowance_total: Decimal | None = None
    """BT-107."""
    charge_total: Decimal | None = None
    """BT-108."""
    net: Decimal | None = None
    """BT-109: the amount without VAT."""
    vat: Decimal | None = None
    """BT-110."""
    vat_accounting_currency: Decimal | None = None
    """BT-111: the VAT in the seller's accounting currency."""
    gross: Decimal | None = None
    """BT-112: the amount with VAT."""
    prepaid: Decimal | None = None
    """BT-113."""
    rounding: Decimal | None = None
    """BT-114."""
    due: Decimal | None = None
    """BT-115: what is left to pay."""


class Attribute(Term):
    """A property of an item (BG-32)."""

    name: str | None = None
    """BT-160."""
    value: str | None = None
    """BT-161."""


class Item(Term):
    """What is invoiced on a line (BG-31)."""

    name: str | None = None
    """BT-153."""
    description: str | None = None
    """BT-154."""
    seller_id: str | None = None
    """BT-155."""
    buyer_id: str | None = None
    """BT-156."""
    standard_id: Identifier | None = None
    """BT-157: for example a GTIN, scheme `0160`."""
    classifications: list[Identifier] = Field(default_factory=list)
    """BT-158: for example a CPV code."""
    country_of_origin: str | None = None
    """BT-159: ISO 3166-1 alpha-2."""
    attributes: list[Attribute] = Field(default_factory=list)


class InvoiceLine(Term):
    """One line (BG-25)."""

    id: str | None = None
    """BT-126."""
    note: str | None = None
    """BT-127."""
    object_identifier: Identifier | None = None
    """BT-128: what the line is about, for example a meter."""
    quantity: Decimal | None = None
    """BT-129."""
    unit: str | None = None
    """BT-130: UN/ECE Recommendation 20 or 21, for example `C62` for one piece."""
    net_amount: Decimal | None = None
    """BT-131: without VAT, after the line's allowances and charges."""
    order_line_reference: str | None = None
    """BT-132: the line of the purchase order."""
    accounting_reference: str | None = None
    """BT-133."""
    period: Period | None = None
    """BG-26."""
    allowances: list[AllowanceCharge] = Field(default_factory=list)
    """BG-27."""
    charges: list[AllowanceCharge] = Field(default_factory=list)
    """BG-28."""
    net_price: Decimal | None = None
    """BT-146: the price of `base_quantity` units, after the discount."""
    price_discount: Decimal | None = None
    """BT-147."""
    gross_price: Decimal | None = None
    """BT-148."""
    base_quantity: Decimal | None = None
    """BT-149: the quantity the price is for; 1 when absent."""
    base_quantity_unit: str | None = None
    """BT-150."""
    vat_category: str | None = None
    """BT-151: UNCL 5305."""
    vat_rate: Decimal | None = None
    """BT-152: 19 means 19 %."""
    item: Item = Item()
    """BG-31."""
    sub_lines: list[InvoiceLine] = Field(default_factory=list)
    """Lines this one sums up (XRechnung's extension); their amounts are already in `net_amount`."""


class Attachment(Term):
    """A supporting document (BG-24): its particulars, not its bytes."""

    reference: str | None = None
    """BT-122."""
    description: str | None = None
    """BT-123."""
    location: str | None = None
    """BT-124: a URL."""
    filename: str | None = None
    """BT-125: the name of the embedded file."""
    mime_type: str | None = None


class Invoice(Term):
    """An invoice or credit note, in the terms of EN 16931."""

    number: str | None = None
    """BT-1."""
    issue_date: date | None = None
    """BT-2; the standard's dates carry no zone."""
    type_code: str | None = None
    """BT-3: UNTDID 1001; `380` is an invoice, `381` a credit note."""
    currency: Currency | None = None
    """BT-5."""
    tax_currency: Currency | None = None
    """BT-6: the currency VAT is accounted in, when another."""
    tax_point_date: date | None = None
    """BT-7."""
    tax_point_code: str | None = None
    """BT-8: UNTDID 2005, as the semantic model gives it (3, 35 or 432)."""
    due_date: date | None = None
    """BT-9."""
    buyer_reference: str | None = None
    """BT-10: for German authorities the Leitweg-ID."""
    project_reference: str | None = None
    """BT-11."""
    contract_reference: str | None = None
    """BT-12."""
    order_reference: str | None = None
    """BT-13: the purchase order's number."""
    sales_order_reference: str | None = None
    """BT-14."""
    receiving_advice_reference: str | None = None
    """BT-15."""
    despatch_advice_reference: str | None = None
    """BT-16."""
    tender_reference: str | None = None
    """BT-17."""
    object_identifier: Identifier | None = None
    """BT-18: what the invoice is about, for example a subscription."""
    accounting_reference: str | None = None
    """BT-19: where the buyer books it."""
    payment_terms: str | None = None
    """BT-20."""
    notes: list[Note] = Field(default_factory=list)
    """BG-1."""
    business_process: str | None = None
    """BT-23."""
    specification: str | None = None
    """BT-24: the identifier of the specification the document follows."""
    preceding_invoices: list[PrecedingInvoice] = Field(default_factory=list)
    """BG-3."""
    seller: Party = Party()
    """BG-4."""
    buyer: Party = Party()
    """BG-7."""
    payee: Party | None = None
    """BG-10: who is paid, when not the seller."""
    tax_representative: Party | None = None
    """BG-11."""
    delivery: Delivery | None = None
    """BG-13."""
    period: Period | None = None
    """BG-14."""
    payment: PaymentInstructions | None = None
    """BG-16."""
    allowances: list[AllowanceCharge] = Field(default_factory=list)
    """BG-20."""
    charges: list[AllowanceCharge] = Field(default_factory=list)
    """BG-21."""
    totals: Totals = Totals()
    """BG-22."""
    vat_breakdown: list[VatBreakdown] = Field(default_factory=list)
    """BG-23."""
    attachments: list[Attachment] = Field(default_factory=list)
    """BG-24."""
    lines: list[InvoiceLine] = Field(default_factory=list)
    """BG-25."""

    @property
    def is_credit_note(self) -> bool:
        """True when the amounts are owed to the buyer."""
        return self.type_code in CREDIT_NOTE_TYPES

    @property
    def ibans(self) -> list[str]:
        """The accounts to pay to, in order, that look like an IBAN."""
        accounts = (transfer.account for transfer in (self.payment.credit_transfers if self.payment else []))
        return [account for account in accounts if account and re.fullmatch(r"[A-Z]{2}\d{2}[A-Z0-9]{11,30}", account)]


class ReadInvoice(Term):
    """An invoice and where it came from."""

    invoice: Invoice
    source: str
    """The URI it was read from."""
    format: SourceFormat
    sha256: str
    """Of the file's bytes, in hexadecimal."""
    profile: str | None = None
    """The specification the document names (BT-24); None for a plain PDF."""
    confidence: Decimal = Decimal(1)
    """1 when the fields were read from structured data; less for text, see `not_found`."""
    not_found: list[str] = Field(default_factory=list)
    """Field paths that a plain PDF did not show beyond doubt, for example `totals.net`."""
    findings: list[Finding] = Field(default_factory=list)
    """What reading itself noticed, for example a hybrid PDF whose two halves disagree."""


class CheckedInvoice(ReadInvoice):
    """An invoice with everything the rules had to say about it; `findings` holds reading's and the rules'."""

    ok: bool
    """True when no finding is an error."""
