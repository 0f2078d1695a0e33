"""The words invoices use for their fields, in the languages of Europe, and where they stand in a document."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass
from functools import cache

from muster.skills.finance.reading.plain.layout import Cell, Page

VOCABULARY: dict[str, tuple[str, ...]] = {
    "number": (
        "invoice number", "invoice no", "invoice nr", "invoice num", "invoice id", "invoice #", "invoice ref",
        "inv no", "inv #", "bill number", "bill no", "tax invoice no", "tax invoice number", "credit note number",
        "credit note no", "credit memo number", "rechnungsnummer", "rechnungsnr", "rechnungs nr", "rechnung nr",
        "rechnung nummer", "rechnung no", "rech nr", "re nr", "belegnummer", "beleg nr", "gutschriftsnummer",
        "gutschrift nr", "faktura nr", "fakturanummer", "fakturanr", "facture no", "facture numero", "numero de facture",
        "numero de la facture", "numero facture", "no de facture", "no facture", "no de la facture", "avoir no",
        "factuurnummer", "factuurnr", "factuur nr", "factuur nummer", "creditnotanummer", "numero de factura",
        "numero factura", "no de factura", "no factura", "factura no", "factura numero", "num factura",
        "numero fattura", "numero della fattura", "fattura n", "fattura no", "fattura nr", "fattura numero",
        "n fattura", "nr fattura", "numero da fatura", "fatura no", "fatura n", "no da fatura", "nr faktury",
        "numer faktury", "faktura vat nr", "cislo faktury", "faktura c", "faktura cislo", "laskun numero",
        "laskunumero", "laskun nro", "fakturanumero",
    ),
    "bare_number": ("invoice", "rechnung", "facture", "factuur", "factura", "fattura", "fatura", "faktura", "lasku"),
    "date": (
        "invoice date", "date of invoice", "invoice issue date", "issue date", "date of issue", "date issued", "issued on",
        "bill date", "invoice dated", "tax invoice date", "rechnungsdatum", "rechnung vom", "belegdatum",
        "ausstellungsdatum", "rechnungs datum", "date de facture", "date de la facture", "date facture",
        "date de facturation", "date d emission", "facture du", "factuurdatum", "factuur datum", "datum factuur",
        "fecha de factura", "fecha factura", "fecha de la factura", "fecha de emision", "fecha emision", "data fattura",
        "data della fattura", "data di emissione", "data emissione", "data documento", "data da fatura",
        "data de emissao", "data wystawienia", "fakturadatum", "fakturadato", "faktureringsdato", "laskun paivays",
        "laskun paivamaara", "datum vystaveni",
    ),
    "bare_date": ("date", "datum", "fecha", "data", "dato", "paivays", "paivamaara"),
    "due_date": (
        "due date", "payment due", "payment due date", "due on", "due by", "date due", "pay by", "falligkeitsdatum",
        "fallig am", "fallig bis", "zahlbar bis", "zahlungsziel", "faelligkeitsdatum", "date d echeance", "echeance",
        "a payer avant le", "vervaldatum", "te betalen voor", "uiterste betaaldatum", "fecha de vencimiento",
        "vencimiento", "data scadenza", "scadenza", "data di scadenza", "data de vencimento", "vencimento",
        "termin platnosci", "forfallodatum", "forfallsdato", "forfaldsdato", "erapaiva", "datum splatnosti",
    ),
    "other_date": (
        "order date", "delivery date", "ship date", "shipping date", "date of order", "date of supply", "service date",
        "bestelldatum", "lieferdatum", "leistungsdatum", "liefertermin", "orderdatum", "besteldatum", "leverdatum",
        "date de commande", "date de livraison", "fecha de pedido", "fecha de entrega", "data ordine", "data consegna",
        "statement date", "billing period", "print date", "druckdatum",
    ),
    "order": (
        "po number", "p o number", "po no", "p o no", "po #", "purchase order", "purchase order number",
        "purchase order no", "customer po", "your order", "your order number", "your order no", "bestellnummer",
        "ihre bestellung", "ihre bestellnummer", "ihre bestell nr", "bestell nr", "uw ordernummer", "uw bestelnummer",
        "inkoopordernummer", "inkooporder", "votre commande", "votre numero de commande", "bon de commande no",
        "su pedido", "vostro ordine",
    ),
    "other_number": (
        "order number", "order no", "order id", "order", "ordernummer", "auftragsnummer", "auftrags nr", "kundennummer",
        "kundennr", "kunden nr", "customer number", "customer no", "customer id", "customer", "account number",
        "account no", "klantnummer", "klant", "client", "kunde", "delivery note", "lieferscheinnummer", "lieferschein nr",
        "numero de client", "no client", "numero de dossier", "numero de commande", "no de commande", "quote no",
        "reference", "referenz", "referentie", "page", "seite", "pagina", "phone", "tel", "fax", "contract no",
        "terms", "payment terms", "zahlungsbedingungen", "conditions de paiement",
    ),
    "gross": (
        "grand total", "invoice total", "total invoice", "total incl vat", "total inc vat", "total including vat",
        "total incl tax", "total including tax", "total inc tax", "total with tax", "total with vat", "total gross",
        "gross total", "gross amount", "total amount incl vat", "total for this invoice", "invoice amount", "total inc gst",
        "total incl gst", "gesamtbetrag", "rechnungsbetrag", "gesamtsumme", "gesamtbetrag brutto", "endbetrag",
        "endsumme", "bruttobetrag", "gesamt brutto", "summe brutto", "brutto gesamt", "bruttosumme",
        "rechnungssumme", "rechnungsendbetrag", "total ttc", "montant ttc", "montant total ttc", "total general",
        "total toutes taxes comprises", "totaal incl btw", "totaal inclusief btw", "totaal inclusief", "factuur totaal",
        "factuurtotaal", "factuurbedrag", "totaalbedrag", "eindtotaal", "total factura", "total con iva",
        "total iva incluido", "importe total", "totale fattura", "totale documento", "importo totale", "totale ivato",
        "totale iva inclusa", "totale complessivo", "valor total", "total com iva", "total da fatura", "razem brutto",
        "wartosc brutto", "kwota brutto", "summa inkl moms", "totalt inkl moms", "total inkl moms", "belop inkl mva",
        "verollinen summa", "celkem s dph", "celkova castka",
    ),
    "due": (
        "amount due", "total amount due", "total due", "balance due", "amount payable", "total payable", "total to pay",
        "amount to pay", "net payable", "please pay", "zu zahlen", "zahlbetrag", "zu zahlender betrag", "offener betrag",
        "zahlungsbetrag", "net a payer", "reste a payer", "solde a payer", "montant a payer", "total a payer",
        "te betalen", "te betalen bedrag", "totaal te betalen", "openstaand bedrag", "total a pagar", "importe a pagar",
        "totale da pagare", "totale dovuto", "netto a pagare", "do zaplaty", "att betala", "summa att betala",
        "at betale", "a betale", "maksettava", "k uhrade",
    ),
    "total": (
        "total", "totals", "total amount", "totaal", "totale", "summe", "gesamt", "totalt", "suma", "razem", "yhteensa",
        "celkem", "i alt", "sum", "montant total", "gesamtpreis",
    ),
    "net": (
        "subtotal", "sub total", "net total", "total net", "net amount", "net", "total excl vat", "total excluding vat",
        "total ex vat", "total exc vat", "total excl tax", "total excluding tax", "total before tax", "total without tax",
        "total without vat", "taxable amount", "taxable value", "amount excl vat", "subtotal excl vat", "nettobetrag",
        "summe netto", "zwischensumme", "netto", "gesamt netto", "nettosumme", "netto gesamt", "gesamtbetrag netto",
        "warenwert netto", "rechnungsbetrag netto", "total ht", "montant ht", "total hors taxe", "total hors taxes",
        "total hors tva", "montant total ht", "sous total", "sous total ht", "subtotaal", "exclusief btw", "excl btw",
        "totaal excl btw", "totaal exclusief btw", "totaal exclusief", "subtotaal excl btw", "base imponible", "importe neto",
        "total sin iva", "imponibile", "totale imponibile", "totale netto", "base tributavel", "total sem iva",
        "base de incidencia", "razem netto", "wartosc netto", "kwota netto", "summa exkl moms", "totalt exkl moms",
        "belop eks mva", "veroton summa", "celkem bez dph", "zaklad dane", "total tax base",
    ),
    "tax": (
        "vat", "vat amount", "total vat", "tax", "tax amount", "total tax", "sales tax", "gst", "hst", "value added tax",
        "mwst", "ust", "mehrwertsteuer", "umsatzsteuer", "zzgl mwst", "zzgl ust", "mwst betrag", "steuerbetrag",
        "steuer", "enthaltene mwst", "tva", "total tva", "montant tva", "dont tva", "btw", "btw bedrag", "totaal btw",
        "waarvan btw", "iva", "total iva", "cuota iva", "importe iva", "totale iva", "di cui iva", "imposta", "valor iva",
        "total do iva", "kwota vat", "moms", "herav moms", "mva", "alv", "dph", "cst", "igst",
    ),
    "not_total": (
        "total quantity", "total qty", "total hours", "total weight", "total items", "total discount", "total savings",
        "total paid", "amount paid", "paid", "total page", "carried forward", "ubertrag", "report", "deposit",
        "previous balance", "anzahlung", "bereits bezahlt", "acompte", "total line", "unit price", "shipping", "discount",
        "tax invoice", "vat invoice", "vat no", "vat number", "vat id", "vat reg no", "tax id", "tax no", "tax number",
        "tax date", "tax rate", "vat rate", "mwst satz", "ust id", "ust idnr", "ust id nr", "steuernummer", "steuer nr",
        "btw nummer", "btw nr", "btw id", "tva intracommunautaire", "no tva", "numero de tva", "p iva", "partita iva",
        "total eur per unit", "gst no", "gstin", "vat tin", "service tax", "net weight", "net days", "netto gewicht",
        "net 30", "net 14", "net 60", "tage netto",
    ),
}  # fmt: skip
"""What each field is called. Accents, case, spaces and most signs do not count."""

_IGNORED = frozenset(" .,-_'’`´:()*/&\t\u00a0\u00ad")


@dataclass(frozen=True)
class Hit:
    """A label found in a cell."""

    field: str
    cell: Cell
    start: int
    end: int
    """The label's place in the cell's text."""
    stop: int
    """Where the next label in the cell begins, or the text ends."""

    @property
    def after(self) -> str:
        """The text between this label and the next."""
        return self.cell.text[self.end : self.stop].lstrip(" .:#–-\t\u00a0)")

    @property
    def leads(self) -> bool:
        """True when nothing stands before the label in its cell."""
        return not self.cell.text[: self.start].strip(" #*•-")


def squeeze(text: str) -> tuple[str, list[int]]:
    """The text as labels are compared, and for each of its characters the place in the original."""
    letters: list[str] = []
    places: list[int] = []
    for place, original in enumerate(text):
        if original in _IGNORED:
            continue
        plain = "o" if original in "°º" else unicodedata.normalize("NFKD", original).casefold()
        for letter in plain.replace("ł", "l").replace("ø", "o"):
            if not unicodedata.combining(letter):
                letters.append(letter)
                places.append(place)
    return "".join(letters), places


@cache
def _pattern() -> tuple[re.Pattern[str], dict[str, str]]:
    fields = {squeeze(label)[0]: field for field, labels in VOCABULARY.items() for label in labels}
    longest_first = sorted(fields, key=len, reverse=True)
    return re.compile("|".join(re.escape(label) for label in longest_first)), fields


def hits_in(cell: Cell) -> list[Hit]:
    """The labels in a cell, from left to right."""
    squeezed, places = squeeze(cell.text)
    pattern, fields = _pattern()
    found: list[tuple[str, int, int]] = []
    position = 0
    while match := pattern.search(squeezed, position):
        start, end = places[match.start()], places[match.end() - 1] + 1
        if _is_word(cell.text, start, end):
            found.append((fields[match[0]], start, end))
            position = match.end()
        else:
            position = match.start() + 1
    stops = [*(start for _, start, _ in found[1:]), len(cell.text)][: len(found)]
    return [
        Hit(field, cell, start, end, stop) for (field, start, end), stop in zip(found, stops, strict=True)
    ]


def _is_word(text: str, start: int, end: int) -> bool:
    before, after = text[start - 1 : start], text[end : end + 1]
    return not before.isalnum() and not after.isalpha()


class Labels:
    """Every label in a document."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self.by_cell: dict[tuple[int, int], list[Hit]] = {}
        for cell in page.cells:
            if found := hits_in(cell):
                self.by_cell[cell.line, cell.column] = found

    def of(self, *fields: str) -> list[Hit]:
        """The labels of the fields, in reading order."""
        return [hit for hits in self.by_cell.values() for hit in hits if hit.field in fields]

    def beside(self, hit: Hit) -> list[str]:
        """The texts that belong to a label on its line: the rest of its cell, then the cells before the next label."""
        texts = [hit.after] if hit.after.strip() else []
        if hit.stop < len(hit.cell.text):
            return texts
        for cell in self.page.right_of(hit.cell):
            if hits := self.by_cell.get((cell.line, cell.column)):
                before = cell.text[: hits[0].start].strip()
                return [*texts, before] if before else texts
            texts.append(cell.text)
        return texts

    def below(self, hit: Hit) -> str | None:
        """The text under a label that is a heading: it fills its cell, and what is under it is no label."""
        under = self.page.below(hit.cell)
        if under is None or hit.after.strip() or (under.line, under.column) in self.by_cell:
            return None
        return under.text

    def in_heading(self, hit: Hit) -> bool:
        """True when the label stands in a row of headings: three cells or more, labels most of them."""
        line = self.page.lines[hit.cell.line]
        labelled = sum((cell.line, cell.column) in self.by_cell for cell in line)
        return len(line) >= 3 and labelled >= 2 and not any(re.search(r"\d", cell.text) for cell in line)
