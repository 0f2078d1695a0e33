"""UBL 2.1 invoices and credit notes, as EN 16931-3-2 binds them to the semantic model."""

from __future__ import annotations

import re
from typing import Any

from lxml import etree

from muster.findings import Finding
from muster.skills.finance.invoice import (
    Address,
    AllowanceCharge,
    Attachment,
    Attribute,
    Contact,
    CreditTransfer,
    Delivery,
    DirectDebit,
    Identifier,
    Item,
    Note,
    Party,
    PaymentCard,
    PaymentInstructions,
    Period,
    PrecedingInvoice,
    VatBreakdown,
)
from muster.skills.finance.reading.xml import Node, account, without_placeholder

NAMESPACES = {
    "cac": "urn:oasis:names:specification:ubl:schema:xsd:CommonAggregateComponents-2",
    "cbc": "urn:oasis:names:specification:ubl:schema:xsd:CommonBasicComponents-2",
}
ROOTS = frozenset(
    f"{{urn:oasis:names:specification:ubl:schema:xsd:{kind}-2}}{kind}" for kind in ("Invoice", "CreditNote")
)
"""The root elements of the documents read here."""

_OBJECT, _PROJECT = "130", "50"
"""UNTDID 1001 codes: a document reference names the invoiced object, or in a credit note the project."""
_SUBJECT = re.compile(r"#([A-Z]{3})#(.*)", re.DOTALL)


def read(root: etree._Element, problems: list[Finding]) -> dict[str, Any]:
    """The fields of an `Invoice`, not yet validated."""
    node = Node(root, NAMESPACES, problems)
    credit = etree.QName(root).localname == "CreditNote"
    return {
        **_header(node, credit),
        **_references(node, credit),
        "seller": node.build("cac:AccountingSupplierParty/cac:Party", _party) or Party(),
        "buyer": node.build("cac:AccountingCustomerParty/cac:Party", _party) or Party(),
        "payee": node.build("cac:PayeeParty", _named_party),
        "tax_representative": node.build("cac:TaxRepresentativeParty", _named_party),
        "delivery": node.build("cac:Delivery", _delivery),
        "payment": _payment(node),
        "allowances": _allowances(node, "false"),
        "charges": _allowances(node, "true"),
        "totals": _totals(node),
        "vat_breakdown": [_vat(part) for part in node.parts("cac:TaxTotal/cac:TaxSubtotal")],
        "lines": [_line(part) for part in node.parts("cac:CreditNoteLine" if credit else "cac:InvoiceLine")],
    }


def _header(node: Node, credit: bool) -> dict[str, Any]:
    return {
        "number": node.text("cbc:ID"),
        "issue_date": node.day("cbc:IssueDate"),
        "type_code": node.text("cbc:CreditNoteTypeCode" if credit else "cbc:InvoiceTypeCode"),
        "currency": node.text("cbc:DocumentCurrencyCode"),
        "tax_currency": node.text("cbc:TaxCurrencyCode"),
        "tax_point_date": node.day("cbc:TaxPointDate"),
        "tax_point_code": node.text("cac:InvoicePeriod/cbc:DescriptionCode"),
        "due_date": node.day("cac:PaymentMeans/cbc:PaymentDueDate" if credit else "cbc:DueDate"),
        "payment_terms": node.text("cac:PaymentTerms/cbc:Note"),
        "notes": [_note(text) for part in node.parts("cbc:Note") if (text := part.text())],
        "business_process": node.text("cbc:ProfileID"),
        "specification": node.text("cbc:CustomizationID"),
        "period": _period(node),
    }


def _references(node: Node, credit: bool) -> dict[str, Any]:
    documents = node.parts("cac:AdditionalDocumentReference")
    kinds = {_OBJECT, _PROJECT} if credit else {_OBJECT}
    typed = {kind: part for part in documents if (kind := part.text("cbc:DocumentTypeCode")) in kinds}
    project = typed[_PROJECT].text("cbc:ID") if _PROJECT in typed else node.text("cac:ProjectReference/cbc:ID")
    return {
        "buyer_reference": node.text("cbc:BuyerReference"),
        "project_reference": project,
        "contract_reference": node.text("cac:ContractDocumentReference/cbc:ID"),
        "order_reference": without_placeholder(node.text("cac:OrderReference/cbc:ID")),
        "sales_order_reference": node.text("cac:OrderReference/cbc:SalesOrderID"),
        "receiving_advice_reference": node.text("cac:ReceiptDocumentReference/cbc:ID"),
        "despatch_advice_reference": node.text("cac:DespatchDocumentReference/cbc:ID"),
        "tender_reference": node.text("cac:OriginatorDocumentReference/cbc:ID"),
        "object_identifier": typed[_OBJECT].identifier("cbc:ID") if _OBJECT in typed else None,
        "accounting_reference": node.text("cbc:AccountingCost"),
        "preceding_invoices": [
            PrecedingInvoice(number=part.text("cbc:ID"), issue_date=part.day("cbc:IssueDate"))
            for part in node.parts("cac:BillingReference/cac:InvoiceDocumentReference")
        ],
        "attachments": [_attachment(part) for part in documents if part not in typed.values()],
    }


def _note(text: str) -> Note:
    # The syntax has no place for a note's subject, so the binding writes it into the text.
    if match := _SUBJECT.fullmatch(text):
        return Note(text=match[2].strip(), subject_code=match[1])
    return Note(text=text)


def _attachment(node: Node) -> Attachment:
    embedded = "cac:Attachment/cbc:EmbeddedDocumentBinaryObject"
    return Attachment(
        reference=node.text("cbc:ID"),
        description=node.text("cbc:DocumentDescription"),
        location=node.text("cac:Attachment/cac:ExternalReference/cbc:URI"),
        filename=node.attribute(embedded, "filename"),
        mime_type=node.attribute(embedded, "mimeCode"),
    )


def _party(node: Node) -> Party:
    legal = "cac:PartyLegalEntity"
    return Party(
        name=node.text(f"{legal}/cbc:RegistrationName"),
        trading_name=node.text("cac:PartyName/cbc:Name"),
        identifiers=_identifiers(node),
        legal_registration=node.identifier(f"{legal}/cbc:CompanyID"),
        legal_information=node.text(f"{legal}/cbc:CompanyLegalForm"),
        electronic_address=node.identifier("cbc:EndpointID"),
        address=node.build("cac:PostalAddress", _address),
        contact=node.build("cac:Contact", _contact),
        **_tax_registrations(node),
    )


def _named_party(node: Node) -> Party:
    """A payee or tax representative: the syntax has its name where others have the trading name."""
    party = _party(node)
    return party.model_copy(update={"name": party.trading_name or party.name, "trading_name": None})


def _identifiers(node: Node) -> list[Identifier]:
    identifiers = node.identifiers("cac:PartyIdentification/cbc:ID")
    return [identifier for identifier in identifiers if identifier.scheme != "SEPA"]


def _tax_registrations(node: Node) -> dict[str, str | None]:
    registrations: dict[str, str | None] = {"vat_id": None, "tax_number": None}
    for part in node.parts("cac:PartyTaxScheme"):
        kind = "vat_id" if part.text("cac:TaxScheme/cbc:ID") == "VAT" else "tax_number"
        registrations[kind] = registrations[kind] or part.text("cbc:CompanyID")
    return registrations


def _address(node: Node) -> Address:
    return Address(
        line_1=node.text("cbc:StreetName"),
        line_2=node.text("cbc:AdditionalStreetName"),
        line_3=node.text("cac:AddressLine/cbc:Line"),
        city=node.text("cbc:CityName"),
        postal_code=node.text("cbc:PostalZone"),
        subdivision=node.text("cbc:CountrySubentity"),
        country=node.text("cac:Country/cbc:IdentificationCode"),
    )


def _contact(node: Node) -> Contact:
    return Contact(
        name=node.text("cbc:Name"), telephone=node.text("cbc:Telephone"), email=node.text("cbc:ElectronicMail")
    )


def _period(node: Node) -> Period | None:
    part = node.part("cac:InvoicePeriod")
    if part is None:
        return None
    period = Period(start=part.day("cbc:StartDate"), end=part.day("cbc:EndDate"))
    # The group may be there only for the tax point code it also holds.
    return None if period == Period() and part.has("cbc:DescriptionCode") else period


def _delivery(node: Node) -> Delivery:
    return Delivery(
        name=node.text("cac:DeliveryParty/cac:PartyName/cbc:Name"),
        location=node.identifier("cac:DeliveryLocation/cbc:ID"),
        delivery_date=node.day("cbc:ActualDeliveryDate"),
        address=node.build("cac:DeliveryLocation/cac:Address", _address),
    )


def _payment(node: Node) -> PaymentInstructions | None:
    means = node.parts("cac:PaymentMeans")
    creditor = _creditor(node)
    if not means and creditor is None:
        return None
    return PaymentInstructions(
        means_code=node.first("cac:PaymentMeans", "cbc:PaymentMeansCode"),
        means_text=next((text for part in means if (text := part.attribute("cbc:PaymentMeansCode", "name"))), None),
        remittance_information=node.first("cac:PaymentMeans", "cbc:PaymentID"),
        credit_transfers=[
            CreditTransfer(
                account=account(part.text("cbc:ID")),
                account_name=part.text("cbc:Name"),
                bic=part.text("cac:FinancialInstitutionBranch/cbc:ID"),
            )
            for part in node.parts("cac:PaymentMeans/cac:PayeeFinancialAccount")
        ],
        card=node.build("cac:PaymentMeans/cac:CardAccount", _card),
        direct_debit=_direct_debit(node.part("cac:PaymentMeans/cac:PaymentMandate"), creditor),
    )


def _creditor(node: Node) -> str | None:
    """BT-90, which the syntax keeps among the identifiers of the payee or the seller."""
    for party in ("cac:PayeeParty", "cac:AccountingSupplierParty/cac:Party"):
        for identifier in node.identifiers(f"{party}/cac:PartyIdentification/cbc:ID"):
            if identifier.scheme == "SEPA":
                return identifier.value
    return None


def _card(node: Node) -> PaymentCard:
    return PaymentCard(number=node.text("cbc:PrimaryAccountNumberID"), holder=node.text("cbc:HolderName"))


def _direct_debit(node: Node | None, creditor: str | None) -> DirectDebit | None:
    if node is None:
        return DirectDebit(creditor_identifier=creditor) if creditor else None
    return DirectDebit(
        mandate_reference=node.text("cbc:ID"),
        creditor_identifier=creditor,
        debited_account=account(node.text("cac:PayerFinancialAccount/cbc:ID")),
    )


def _allowances(node: Node, indicator: str) -> list[AllowanceCharge]:
    return [
        AllowanceCharge(
            amount=part.decimal("cbc:Amount"),
            base_amount=part.decimal("cbc:BaseAmount"),
            percentage=part.decimal("cbc:MultiplierFactorNumeric"),
            vat_category=part.text("cac:TaxCategory/cbc:ID"),
            vat_rate=part.decimal("cac:TaxCategory/cbc:Percent"),
            reason=part.text("cbc:AllowanceChargeReason"),
            reason_code=part.text("cbc:AllowanceChargeReasonCode"),
        )
        for part in node.parts("cac:AllowanceCharge")
        if part.text("cbc:ChargeIndicator") == indicator
    ]


def _totals(node: Node) -> dict[str, Any]:
    currency, tax_currency = node.text("cbc:DocumentCurrencyCode"), node.text("cbc:TaxCurrencyCode")
    taxes = {part.attribute(".", "currencyID"): part.decimal() for part in node.parts("cac:TaxTotal/cbc:TaxAmount")}
    sums = "cac:LegalMonetaryTotal/cbc:"
    return {
        "line_total": node.decimal(f"{sums}LineExtensionAmount"),
        "allowance_total": node.decimal(f"{sums}AllowanceTotalAmount"),
        "charge_total": node.decimal(f"{sums}ChargeTotalAmount"),
        "net": node.decimal(f"{sums}TaxExclusiveAmount"),
        "vat": taxes.get(currency),
        "vat_accounting_currency": taxes.get(tax_currency) if tax_currency != currency else None,
        "gross": node.decimal(f"{sums}TaxInclusiveAmount"),
        "prepaid": node.decimal(f"{sums}PrepaidAmount"),
        "rounding": node.decimal(f"{sums}PayableRoundingAmount"),
        "due": node.decimal(f"{sums}PayableAmount"),
    }


def _vat(node: Node) -> VatBreakdown:
    category = "cac:TaxCategory/cbc:"
    return VatBreakdown(
        taxable_amount=node.decimal("cbc:TaxableAmount"),
        tax_amount=node.decimal("cbc:TaxAmount"),
        category=node.text(f"{category}ID"),
        rate=node.decimal(f"{category}Percent"),
        exemption_reason=node.text(f"{category}TaxExemptionReason"),
        exemption_reason_code=node.text(f"{category}TaxExemptionReasonCode"),
    )


def _line(node: Node) -> dict[str, Any]:
    quantity = "cbc:InvoicedQuantity" if node.has("cbc:InvoicedQuantity") else "cbc:CreditedQuantity"
    price = node.part("cac:Price")
    category = "cac:Item/cac:ClassifiedTaxCategory/cbc:"
    return {
        "id": node.text("cbc:ID"),
        "note": node.text("cbc:Note"),
        "object_identifier": node.identifier("cac:DocumentReference/cbc:ID"),
        "quantity": node.decimal(quantity),
        "unit": node.attribute(quantity, "unitCode"),
        "net_amount": node.decimal("cbc:LineExtensionAmount"),
        "order_line_reference": node.text("cac:OrderLineReference/cbc:LineID"),
        "accounting_reference": node.text("cbc:AccountingCost"),
        "period": _period(node),
        "allowances": _allowances(node, "false"),
        "charges": _allowances(node, "true"),
        **(_price(price) if price else {}),
        "vat_category": node.text(f"{category}ID"),
        "vat_rate": node.decimal(f"{category}Percent"),
        "item": _item(part) if (part := node.part("cac:Item")) else Item(),
        "sub_lines": [_line(part) for kind in ("Invoice", "CreditNote") for part in node.parts(f"cac:Sub{kind}Line")],
    }


def _price(node: Node) -> dict[str, Any]:
    return {
        "net_price": node.decimal("cbc:PriceAmount"),
        "price_discount": node.decimal("cac:AllowanceCharge/cbc:Amount"),
        "gross_price": node.decimal("cac:AllowanceCharge/cbc:BaseAmount"),
        "base_quantity": node.decimal("cbc:BaseQuantity"),
        "base_quantity_unit": node.attribute("cbc:BaseQuantity", "unitCode"),
    }


def _item(node: Node) -> Item:
    return Item(
        name=node.text("cbc:Name"),
        description=node.text("cbc:Description"),
        seller_id=node.text("cac:SellersItemIdentification/cbc:ID"),
        buyer_id=node.text("cac:BuyersItemIdentification/cbc:ID"),
        standard_id=node.identifier("cac:StandardItemIdentification/cbc:ID"),
        classifications=node.identifiers("cac:CommodityClassification/cbc:ItemClassificationCode"),
        country_of_origin=node.text("cac:OriginCountry/cbc:IdentificationCode"),
        attributes=[
            Attribute(name=part.text("cbc:Name"), value=part.text("cbc:Value"))
            for part in node.parts("cac:AdditionalItemProperty")
        ],
    )
