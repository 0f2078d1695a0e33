"""UN/CEFACT Cross Industry Invoices (D16B), as EN 16931-3-3 binds them; also Factur-X and ZUGFeRD 2."""

from __future__ import annotations

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

_UNCEFACT = "urn:un:unece:uncefact:data:standard"
NAMESPACES = {
    "rsm": f"{_UNCEFACT}:CrossIndustryInvoice:100",
    "ram": f"{_UNCEFACT}:ReusableAggregateBusinessInformationEntity:100",
    "udt": f"{_UNCEFACT}:UnqualifiedDataType:100",
    "qdt": f"{_UNCEFACT}:QualifiedDataType:100",
}
ROOTS = frozenset({f"{{{NAMESPACES['rsm']}}}CrossIndustryInvoice"})
"""The root elements of the documents read here."""

_TENDER, _OBJECT, _SUPPORTING = "50", "130", "916"
"""UNTDID 1001 codes that tell referenced documents apart."""
_TAX_POINTS = {"5": "3", "29": "35", "72": "432"}
"""UNTDID 2475, which the syntax uses, to UNTDID 2005, which the semantic model uses."""
_DAY = "udt:DateTimeString"


def read(root: etree._Element, problems: list[Finding]) -> dict[str, Any]:
    """The fields of an `Invoice`, not yet validated."""
    node = Node(root, NAMESPACES, problems)
    trade = node.part("rsm:SupplyChainTradeTransaction") or node
    agreement = trade.part("ram:ApplicableHeaderTradeAgreement") or trade
    delivery = trade.part("ram:ApplicableHeaderTradeDelivery") or trade
    settlement = trade.part("ram:ApplicableHeaderTradeSettlement") or trade
    return {
        **_document(node),
        **_agreement(agreement),
        **_settlement(settlement),
        "receiving_advice_reference": delivery.text("ram:ReceivingAdviceReferencedDocument/ram:IssuerAssignedID"),
        "despatch_advice_reference": delivery.text("ram:DespatchAdviceReferencedDocument/ram:IssuerAssignedID"),
        "delivery": _delivery(delivery),
        "payment": _payment(settlement),
        "totals": _totals(settlement),
        "lines": _lines(trade),
    }


def _document(node: Node) -> dict[str, Any]:
    document = "rsm:ExchangedDocument/ram:"
    context = "rsm:ExchangedDocumentContext/ram:"
    return {
        "number": node.text(f"{document}ID"),
        "issue_date": node.day(f"{document}IssueDateTime/{_DAY}"),
        "type_code": node.text(f"{document}TypeCode"),
        "notes": [
            Note(text=text, subject_code=part.text("ram:SubjectCode"))
            for part in node.parts(f"{document}IncludedNote")
            if (text := part.text("ram:Content"))
        ],
        "business_process": node.text(f"{context}BusinessProcessSpecifiedDocumentContextParameter/ram:ID"),
        "specification": node.text(f"{context}GuidelineSpecifiedDocumentContextParameter/ram:ID"),
    }


def _agreement(node: Node) -> dict[str, Any]:
    number = "ram:IssuerAssignedID"
    documents = node.parts("ram:AdditionalReferencedDocument")
    typed = {kind: part for part in documents if (kind := part.text("ram:TypeCode")) in (_TENDER, _OBJECT)}
    return {
        "buyer_reference": node.text("ram:BuyerReference"),
        "seller": node.build("ram:SellerTradeParty", _party) or Party(),
        "buyer": node.build("ram:BuyerTradeParty", _party) or Party(),
        "tax_representative": node.build("ram:SellerTaxRepresentativeTradeParty", _party),
        "order_reference": without_placeholder(node.text(f"ram:BuyerOrderReferencedDocument/{number}")),
        "sales_order_reference": node.text(f"ram:SellerOrderReferencedDocument/{number}"),
        "contract_reference": node.text(f"ram:ContractReferencedDocument/{number}"),
        "project_reference": node.text("ram:SpecifiedProcuringProject/ram:ID"),
        "tender_reference": typed[_TENDER].text(number) if _TENDER in typed else None,
        "object_identifier": _object_identifier(typed.get(_OBJECT)),
        "attachments": [_attachment(part) for part in documents if part not in typed.values()],
    }


def _settlement(node: Node) -> dict[str, Any]:
    due_code = node.text("ram:ApplicableTradeTax/ram:DueDateTypeCode")
    return {
        "currency": node.text("ram:InvoiceCurrencyCode"),
        "tax_currency": node.text("ram:TaxCurrencyCode"),
        "tax_point_date": node.day("ram:ApplicableTradeTax/ram:TaxPointDate/udt:DateString"),
        "tax_point_code": _TAX_POINTS.get(due_code, due_code) if due_code else None,
        "due_date": node.day(f"ram:SpecifiedTradePaymentTerms/ram:DueDateDateTime/{_DAY}"),
        "payment_terms": node.text("ram:SpecifiedTradePaymentTerms/ram:Description"),
        "accounting_reference": node.text("ram:ReceivableSpecifiedTradeAccountingAccount/ram:ID"),
        "payee": node.build("ram:PayeeTradeParty", _party),
        "period": _period(node),
        "allowances": _allowances(node, "false"),
        "charges": _allowances(node, "true"),
        "vat_breakdown": [_vat(part) for part in node.parts("ram:ApplicableTradeTax")],
        "preceding_invoices": [
            PrecedingInvoice(
                number=part.text("ram:IssuerAssignedID"),
                issue_date=part.day("ram:FormattedIssueDateTime/qdt:DateTimeString"),
            )
            for part in node.parts("ram:InvoiceReferencedDocument")
        ],
    }


def _object_identifier(node: Node | None) -> Identifier | None:
    if node is None or (value := node.text("ram:IssuerAssignedID")) is None:
        return None
    return Identifier(value=value, scheme=node.text("ram:ReferenceTypeCode"))


def _attachment(node: Node) -> Attachment:
    return Attachment(
        reference=node.text("ram:IssuerAssignedID"),
        description=node.text("ram:Name"),
        location=node.text("ram:URIID"),
        filename=node.attribute("ram:AttachmentBinaryObject", "filename"),
        mime_type=node.attribute("ram:AttachmentBinaryObject", "mimeCode"),
    )


def _party(node: Node) -> Party:
    return Party(
        name=node.text("ram:Name"),
        trading_name=node.text("ram:SpecifiedLegalOrganization/ram:TradingBusinessName"),
        identifiers=[*node.identifiers("ram:ID"), *node.identifiers("ram:GlobalID")],
        legal_registration=node.identifier("ram:SpecifiedLegalOrganization/ram:ID"),
        legal_information=node.text("ram:Description"),
        electronic_address=node.identifier("ram:URIUniversalCommunication/ram:URIID"),
        address=node.build("ram:PostalTradeAddress", _address),
        contact=node.build("ram:DefinedTradeContact", _contact),
        **_tax_registrations(node),
    )


def _tax_registrations(node: Node) -> dict[str, str | None]:
    registrations: dict[str, str | None] = {"vat_id": None, "tax_number": None}
    for part in node.parts("ram:SpecifiedTaxRegistration"):
        kind = "vat_id" if part.attribute("ram:ID", "schemeID") in ("VA", "VAT") else "tax_number"
        registrations[kind] = registrations[kind] or part.text("ram:ID")
    return registrations


def _address(node: Node) -> Address:
    return Address(
        line_1=node.text("ram:LineOne"),
        line_2=node.text("ram:LineTwo"),
        line_3=node.text("ram:LineThree"),
        city=node.text("ram:CityName"),
        postal_code=node.text("ram:PostcodeCode"),
        subdivision=node.text("ram:CountrySubDivisionName"),
        country=node.text("ram:CountryID"),
    )


def _contact(node: Node) -> Contact:
    return Contact(
        name=node.text("ram:PersonName") or node.text("ram:DepartmentName"),
        telephone=node.text("ram:TelephoneUniversalCommunication/ram:CompleteNumber"),
        email=node.text("ram:EmailURIUniversalCommunication/ram:URIID"),
    )


def _period(node: Node) -> Period | None:
    part = node.part("ram:BillingSpecifiedPeriod")
    if part is None:
        return None
    return Period(start=part.day(f"ram:StartDateTime/{_DAY}"), end=part.day(f"ram:EndDateTime/{_DAY}"))


def _delivery(node: Node) -> Delivery | None:
    place, event = node.part("ram:ShipToTradeParty"), "ram:ActualDeliverySupplyChainEvent"
    if place is None and not node.has(event):
        return None
    day = node.day(f"{event}/ram:OccurrenceDateTime/{_DAY}")
    if place is None:
        return Delivery(delivery_date=day)
    return Delivery(
        name=place.text("ram:Name"),
        location=place.identifier("ram:ID") or place.identifier("ram:GlobalID"),
        delivery_date=day,
        address=place.build("ram:PostalTradeAddress", _address),
    )


def _payment(node: Node) -> PaymentInstructions | None:
    path = "ram:SpecifiedTradeSettlementPaymentMeans"
    means = node.parts(path)
    debit = _direct_debit(node)
    remittance = node.text("ram:PaymentReference")
    if not means and debit is None and remittance is None:
        return None
    return PaymentInstructions(
        means_code=node.first(path, "ram:TypeCode"),
        means_text=node.first(path, "ram:Information"),
        remittance_information=remittance,
        credit_transfers=[transfer for part in means if (transfer := _credit_transfer(part))],
        card=node.build(f"{path}/ram:ApplicableTradeSettlementFinancialCard", _card),
        direct_debit=debit,
    )


def _credit_transfer(node: Node) -> CreditTransfer | None:
    part = node.part("ram:PayeePartyCreditorFinancialAccount")
    if part is None:
        return None
    return CreditTransfer(
        account=account(part.text("ram:IBANID") or part.text("ram:ProprietaryID")),
        account_name=part.text("ram:AccountName"),
        bic=node.text("ram:PayeeSpecifiedCreditorFinancialInstitution/ram:BICID"),
    )


def _card(node: Node) -> PaymentCard:
    return PaymentCard(number=node.text("ram:ID"), holder=node.text("ram:CardholderName"))


def _direct_debit(node: Node) -> DirectDebit | None:
    debit = DirectDebit(
        mandate_reference=node.text("ram:SpecifiedTradePaymentTerms/ram:DirectDebitMandateID"),
        creditor_identifier=node.text("ram:CreditorReferenceID"),
        debited_account=account(
            node.text("ram:SpecifiedTradeSettlementPaymentMeans/ram:PayerPartyDebtorFinancialAccount/ram:IBANID")
        ),
    )
    return debit if debit != DirectDebit() else None


def _allowances(node: Node, indicator: str) -> list[AllowanceCharge]:
    return [
        AllowanceCharge(
            amount=part.decimal("ram:ActualAmount"),
            base_amount=part.decimal("ram:BasisAmount"),
            percentage=part.decimal("ram:CalculationPercent"),
            vat_category=part.text("ram:CategoryTradeTax/ram:CategoryCode"),
            vat_rate=part.decimal("ram:CategoryTradeTax/ram:RateApplicablePercent"),
            reason=part.text("ram:Reason"),
            reason_code=part.text("ram:ReasonCode"),
        )
        for part in node.parts("ram:SpecifiedTradeAllowanceCharge")
        if part.text("ram:ChargeIndicator/udt:Indicator") == indicator
    ]


def _totals(node: Node) -> dict[str, Any]:
    currency, tax_currency = node.text("ram:InvoiceCurrencyCode"), node.text("ram:TaxCurrencyCode")
    sums = node.part("ram:SpecifiedTradeSettlementHeaderMonetarySummation")
    if sums is None:
        return {}
    taxes = {part.attribute(".", "currencyID") or currency: part.decimal() for part in sums.parts("ram:TaxTotalAmount")}
    return {
        "line_total": sums.decimal("ram:LineTotalAmount"),
        "allowance_total": sums.decimal("ram:AllowanceTotalAmount"),
        "charge_total": sums.decimal("ram:ChargeTotalAmount"),
        "net": sums.decimal("ram:TaxBasisTotalAmount"),
        "vat": taxes.get(currency),
        "vat_accounting_currency": taxes.get(tax_currency) if tax_currency != currency else None,
        "gross": sums.decimal("ram:GrandTotalAmount"),
        "prepaid": sums.decimal("ram:TotalPrepaidAmount"),
        "rounding": sums.decimal("ram:RoundingAmount"),
        "due": sums.decimal("ram:DuePayableAmount"),
    }


def _vat(node: Node) -> VatBreakdown:
    return VatBreakdown(
        taxable_amount=node.decimal("ram:BasisAmount"),
        tax_amount=node.decimal("ram:CalculatedAmount"),
        category=node.text("ram:CategoryCode"),
        rate=node.decimal("ram:RateApplicablePercent"),
        exemption_reason=node.text("ram:ExemptionReason"),
        exemption_reason_code=node.text("ram:ExemptionReasonCode"),
    )


def _lines(trade: Node) -> list[dict[str, Any]]:
    """The lines, those that name a parent below it."""
    lines: list[dict[str, Any]] = []
    by_id: dict[str | None, dict[str, Any]] = {}
    for part in trade.parts("ram:IncludedSupplyChainTradeLineItem"):
        line = _line(part)
        above = part.text("ram:AssociatedDocumentLineDocument/ram:ParentLineID")
        parent = by_id.get(above) if above else None
        (lines if parent is None else parent["sub_lines"]).append(line)
        by_id[line["id"]] = line
    return lines


def _line(node: Node) -> dict[str, Any]:
    document = "ram:AssociatedDocumentLineDocument/ram:"
    quantity = "ram:SpecifiedLineTradeDelivery/ram:BilledQuantity"
    settlement = node.part("ram:SpecifiedLineTradeSettlement") or node
    agreement = node.part("ram:SpecifiedLineTradeAgreement") or node
    return {
        "id": node.text(f"{document}LineID"),
        "note": node.text(f"{document}IncludedNote/ram:Content"),
        "object_identifier": _object_identifier(settlement.part("ram:AdditionalReferencedDocument")),
        "quantity": node.decimal(quantity),
        "unit": node.attribute(quantity, "unitCode"),
        "net_amount": settlement.decimal("ram:SpecifiedTradeSettlementLineMonetarySummation/ram:LineTotalAmount"),
        "order_line_reference": agreement.text("ram:BuyerOrderReferencedDocument/ram:LineID"),
        "accounting_reference": settlement.text("ram:ReceivableSpecifiedTradeAccountingAccount/ram:ID"),
        "period": _period(settlement),
        "allowances": _allowances(settlement, "false"),
        "charges": _allowances(settlement, "true"),
        **_price(agreement),
        "vat_category": settlement.text("ram:ApplicableTradeTax/ram:CategoryCode"),
        "vat_rate": settlement.decimal("ram:ApplicableTradeTax/ram:RateApplicablePercent"),
        "item": _item(part) if (part := node.part("ram:SpecifiedTradeProduct")) else Item(),
        "sub_lines": [],
    }


def _price(node: Node) -> dict[str, Any]:
    net, gross = "ram:NetPriceProductTradePrice", "ram:GrossPriceProductTradePrice"
    base = next((path for price in (net, gross) if node.has(path := f"{price}/ram:BasisQuantity")), "ram:BasisQuantity")
    return {
        "net_price": node.decimal(f"{net}/ram:ChargeAmount"),
        "price_discount": node.decimal(f"{gross}/ram:AppliedTradeAllowanceCharge/ram:ActualAmount"),
        "gross_price": node.decimal(f"{gross}/ram:ChargeAmount"),
        "base_quantity": node.decimal(base),
        "base_quantity_unit": node.attribute(base, "unitCode"),
    }


def _item(node: Node) -> Item:
    return Item(
        name=node.text("ram:Name"),
        description=node.text("ram:Description"),
        seller_id=node.text("ram:SellerAssignedID"),
        buyer_id=node.text("ram:BuyerAssignedID"),
        standard_id=node.identifier("ram:GlobalID"),
        classifications=node.identifiers("ram:DesignatedProductClassification/ram:ClassCode"),
        country_of_origin=node.text("ram:OriginTradeCountry/ram:ID"),
        attributes=[
            Attribute(name=part.text("ram:Description"), value=part.text("ram:Value"))
            for part in node.parts("ram:ApplicableProductCharacteristic")
        ],
    )
