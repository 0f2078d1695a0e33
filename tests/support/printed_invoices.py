"""Invoices printed for the tests: in several languages and layouts, each with the truth about its fields."""

from __future__ import annotations

import random
from dataclasses import dataclass, field
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal

from fpdf import FPDF

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Locale:
    """How one country prints its invoices."""

    title: str
    number: str
    day: str
    due: str
    bill_to: str
    net: str
    vat: str
    gross: str
    columns: tuple[str, str, str, str]
    currency: str
    style: str
    """Of amounts: the thousands mark, then the decimal mark."""
    written: tuple[str, ...]
    """Formats of dates; B and b are replaced by the month's name."""
    months: tuple[str, ...]
    form: str
    vat_label: str
    vat_id: str
    iban: str
    before: bool = False
    """True when the currency stands before the amount."""
    sign: str = "EUR"


_DE = (
    *("Januar", "Februar", "März", "April", "Mai", "Juni"),
    *("Juli", "August", "September", "Oktober", "November", "Dezember"),
)
_EN = (
    *("January", "February", "March", "April", "May", "June"),
    *("July", "August", "September", "October", "November", "December"),
)
_FR = (
    *("janvier", "février", "mars", "avril", "mai", "juin"),
    *("juillet", "août", "septembre", "octobre", "novembre", "décembre"),
)
_NL = (
    *("januari", "februari", "maart", "april", "mei", "juni"),
    *("juli", "augustus", "september", "oktober", "november", "december"),
)
_ES = (
    *("enero", "febrero", "marzo", "abril", "mayo", "junio"),
    *("julio", "agosto", "septiembre", "octubre", "noviembre", "diciembre"),
)
_IT = (
    *("gennaio", "febbraio", "marzo", "aprile", "maggio", "giugno"),
    *("luglio", "agosto", "settembre", "ottobre", "novembre", "dicembre"),
)

LOCALES: dict[str, Locale] = {
    "de": Locale(
        "Rechnung",
        "Rechnungsnummer",
        "Rechnungsdatum",
        "Fällig am",
        "Rechnungsadresse",
        "Nettobetrag",
        "zzgl. {rate}% MwSt.",
        "Gesamtbetrag",
        ("Bezeichnung", "Menge", "Einzelpreis", "Betrag"),
        "EUR",
        ".,",
        ("%d.%m.%Y", "%d. B %Y", "%d.%m.%y"),
        _DE,
        "GmbH",
        "USt-IdNr.",
        "DE136695976",
        "DE89370400440532013000",
        sign="€",
    ),
    "uk": Locale(
        "Invoice",
        "Invoice No.",
        "Invoice Date",
        "Due Date",
        "Bill To",
        "Subtotal",
        "VAT ({rate}%)",
        "Total incl. VAT",
        ("Description", "Qty", "Unit Price", "Amount"),
        "GBP",
        ",.",
        ("%d B %Y", "%d-b-%Y"),
        _EN,
        "Ltd",
        "VAT Reg No",
        "",
        "GB82WEST12345698765432",
        before=True,
        sign="£",
    ),
    "us": Locale(
        "INVOICE",
        "Invoice #",
        "Date",
        "Due Date",
        "Bill To",
        "Subtotal",
        "Tax ({rate}%)",
        "Total",
        ("Item", "Quantity", "Rate", "Amount"),
        "USD",
        ",.",
        ("B %d, %Y", "b %d, %Y", "%m/%d/%Y"),
        _EN,
        "Inc.",
        "Tax ID",
        "",
        "",
        before=True,
        sign="$",
    ),
    "fr": Locale(
        "Facture",
        "Facture n°",
        "Date de facture",
        "Date d'échéance",
        "Adresse de facturation",
        "Total HT",
        "TVA {rate}%",
        "Total TTC",
        ("Désignation", "Qté", "P.U. HT", "Montant HT"),
        "EUR",
        " ,",
        ("%d/%m/%Y", "%d B %Y"),
        _FR,
        "SARL",
        "TVA",
        "FR83404833048",
        "FR1420041010050500013M02606",
        sign="€",
    ),
    "nl": Locale(
        "FACTUUR",
        "Factuurnummer",
        "Factuurdatum",
        "Vervaldatum",
        "Factuuradres",
        "Totaal excl. BTW",
        "BTW {rate}%",
        "Totaal incl. BTW",
        ("Omschrijving", "Aantal", "Prijs", "Bedrag"),
        "EUR",
        ".,",
        ("%d-%m-%Y", "%d B %Y"),
        _NL,
        "B.V.",
        "BTW",
        "NL004495445B01",
        "NL91ABNA0417164300",
        before=True,
        sign="€",
    ),
    "es": Locale(
        "Factura",
        "Número de factura",
        "Fecha de factura",
        "Vencimiento",
        "Cliente",
        "Base imponible",
        "IVA {rate}%",
        "Total factura",
        ("Concepto", "Cantidad", "Precio", "Importe"),
        "EUR",
        ".,",
        ("%d/%m/%Y", "%d de B de %Y"),
        _ES,
        "S.L.",
        "NIF",
        "ESB58378431",
        "ES9121000418450200051332",
        sign="€",
    ),
    "it": Locale(
        "Fattura",
        "Fattura n.",
        "Data fattura",
        "Scadenza",
        "Destinatario",
        "Imponibile",
        "IVA {rate}%",
        "Totale fattura",
        ("Descrizione", "Q.tà", "Prezzo", "Importo"),
        "EUR",
        ".,",
        ("%d/%m/%Y", "%d B %Y"),
        _IT,
        "S.r.l.",
        "P.IVA",
        "IT00743110157",
        "IT60X0542811101000000123456",
        sign="€",
    ),
}

LAYOUTS = ("labels", "headings", "sparse", "summary", "prepaid", "letter", "rates", "cluttered", "bare")
"""Ways to arrange a page; the last three are meant to mislead a reader."""


@dataclass(frozen=True)
class Printed:
    """A PDF and what it says."""

    pdf: bytes
    truth: dict[str, object]


@dataclass
class _Sheet:
    locale: Locale
    pdf: FPDF = field(default_factory=lambda: FPDF(format="A4"))
    y: float = 15

    def __post_init__(self) -> None:
        self.pdf.core_fonts_encoding = "windows-1252"
        self.pdf.add_page()
        self.pdf.set_font("helvetica", size=10)

    def put(self, x: float, text: str, *, size: int = 10, right: bool = False) -> None:
        self.pdf.set_font_size(size)
        self.pdf.text(x - self.pdf.get_string_width(text) if right else x, self.y, text)

    def row(self, *cells: tuple[float, str], step: float = 6, right_from: float = 110) -> None:
        for x, text in cells:
            self.put(x, text, right=x > right_from)
        self.y += step

    def amount(self, value: Decimal) -> str:
        group, point = self.locale.style
        text = f"{abs(value):,.2f}".replace(",", "_").replace(".", point).replace("_", group)
        text = f"-{text}" if value < 0 else text
        return f"{self.locale.sign} {text}" if self.locale.before else f"{text} {self.locale.sign}"


def printed(seed: int, country: str, layout: str) -> Printed:
    """One invoice; the same for the same arguments."""
    chance = random.Random(f"{seed}/{country}/{layout}")
    locale = LOCALES[country]
    sheet = _Sheet(locale)
    first = chance.choice(["Nordlicht", "Brightwater", "Altmann", "Ferrovia", "Kestrel"])
    name = f"{first} {chance.choice(['Service', 'Trading', 'Papier', 'Logistik'])} {locale.form}"
    day = date(2020, 1, 1) + timedelta(days=chance.randrange(2400))
    number = chance.choice(["{:06}", "RE-{:05}", "2026/{:04}", "INV{:07}", "A{:04}-26"]).format(
        chance.randrange(1, 10**4)
    )
    lines = [
        (f"Artikel {n}", chance.randrange(1, 9), Decimal(chance.randrange(100, 90000)) / 100)
        for n in range(1, chance.randrange(2, 7))
    ]
    net = sum((quantity * price for _, quantity, price in lines), Decimal(0))
    rate = chance.choice([5, 7, 19, 20, 21])
    vats = (
        [(net, rate)] if layout != "rates" else [(lines[0][1] * lines[0][2], 7), (net - lines[0][1] * lines[0][2], 19)]
    )
    vat = sum(((base * percent / 100).quantize(CENT, ROUND_HALF_UP) for base, percent in vats), Decimal(0))
    written = _written(chance.choice(locale.written), day, locale)
    due = _written(locale.written[0], day + timedelta(days=14), locale)

    _head(sheet, layout, name, number, written, due, chance)
    if layout == "cluttered":
        _clutter(sheet, day, chance)
    _table(sheet, lines)
    if layout == "rates":
        _rates(sheet, vats)
    else:
        _totals(sheet, layout, net, vat, rate)
    _foot(sheet, name)
    truth: dict[str, object] = {
        "number": number,
        "issue_date": day,
        "currency": locale.currency,
        "seller.name": name,
        "seller.vat_id": locale.vat_id or None,
        "totals.gross": net + vat,
        "totals.net": net,
        "totals.vat": vat,
        "iban": locale.iban or None,
        "due_date": day + timedelta(days=14),
    }
    return Printed(bytes(sheet.pdf.output()), truth)


def _written(style: str, day: date, locale: Locale) -> str:
    month = locale.months[day.month - 1]
    return day.strftime(style).replace("B", "\0").replace("b", month[:3]).replace("\0", month)


def _head(sheet: _Sheet, layout: str, name: str, number: str, day: str, due: str, chance: random.Random) -> None:
    locale = sheet.locale
    street = f"Hauptstr. {chance.randrange(1, 99)}"
    buyer = chance.choice(["Muster & Partner AG", "Harbour Foods Ltd", "Boulangerie Dupont SARL"])
    if layout == "letter":
        sheet.row((20, f"{name} - {street} - 63571 Gelnhausen"), step=12)
    elif layout != "sparse":
        sheet.row((20, name))
        sheet.row((20, street))
        sheet.row((20, "63571 Gelnhausen"), step=12)
    sheet.row((20, locale.bill_to))
    sheet.row((20, buyer))
    sheet.row((20, "Ringstr. 12"))
    sheet.row((20, "10115 Berlin"), step=14)
    sheet.put(20, locale.title, size=18)
    sheet.y += 12
    if layout == "headings":
        sheet.row((20, locale.number), (75, locale.day), (105, locale.due))
        sheet.row((20, number), (75, day), (105, due), step=12)
    else:
        sheet.row(
            (20, f"{locale.number}: {number}") if layout == "letter" else (20, locale.number),
            *([] if layout == "letter" else [(70, number)]),
        )
        sheet.row(
            (20, f"{locale.day}: {day}") if layout == "letter" else (20, locale.day),
            *([] if layout == "letter" else [(70, day)]),
        )
        sheet.row((20, locale.due), (70, due), step=12)


def _table(sheet: _Sheet, lines: list[tuple[str, int, Decimal]]) -> None:
    item, quantity_label, price_label, amount_label = sheet.locale.columns
    sheet.row((20, item), (115, quantity_label), (150, price_label), (190, amount_label))
    for text, quantity, price in lines:
        sheet.row(
            (20, text),
            (115, str(quantity)),
            (150, sheet.amount(price)),
            (190, sheet.amount(quantity * price)),
        )
    sheet.y += 6


def _totals(sheet: _Sheet, layout: str, net: Decimal, vat: Decimal, rate: int) -> None:
    locale = sheet.locale
    vat_label = locale.vat.format(rate=rate)
    if layout == "summary":
        sheet.row((60, locale.net), (130, vat_label), (190, locale.gross))
        sheet.row((60, sheet.amount(net)), (130, sheet.amount(vat)), (190, sheet.amount(net + vat)), step=12)
        return
    if layout == "bare":
        # The word total for the net amount, and labels nobody knows for the rest.
        sheet.row((120, "Total"), (190, sheet.amount(net)))
        sheet.row((120, "Levy"), (190, sheet.amount(vat)))
        sheet.row((120, "Altogether"), (190, sheet.amount(net + vat)), step=12)
        return
    if layout != "sparse":
        sheet.row((120, locale.net), (190, sheet.amount(net)))
        sheet.row((120, vat_label), (190, sheet.amount(vat)))
    sheet.row((120, locale.gross), (190, sheet.amount(net + vat)))
    if layout == "prepaid":
        sheet.row((120, "Paid"), (190, sheet.amount(Decimal("-10.00"))))
        sheet.row((120, "Amount due"), (190, sheet.amount(net + vat - 10)))
    sheet.y += 12


def _rates(sheet: _Sheet, vats: list[tuple[Decimal, int]]) -> None:
    """One line for each VAT rate, with the amount it is charged on."""
    locale = sheet.locale
    net = sum((base for base, _ in vats), Decimal(0))
    sheet.row((120, locale.net), (190, sheet.amount(net)))
    gross = net
    for base, rate in vats:
        vat = (base * rate / 100).quantize(CENT, ROUND_HALF_UP)
        gross += vat
        sheet.row((100, locale.vat.format(rate=rate)), (150, sheet.amount(base)), (190, sheet.amount(vat)))
    sheet.row((120, locale.gross), (190, sheet.amount(gross)), step=12)


def _clutter(sheet: _Sheet, day: date, chance: random.Random) -> None:
    """Other numbers, dates and companies, of which none is the invoice's."""
    locale = sheet.locale
    other = _written(locale.written[0], day - timedelta(days=chance.randrange(3, 40)), locale)
    for label, value in (
        ("Order Date", other),
        ("Lieferdatum", other),
        ("Order number", "4711-0815"),
        ("Kundennummer", "99887766"),
        ("Your VAT number", "ATU13585627"),
        ("Delivered by", "Fastship Parcels Ltd"),
        ("Lieferschein Nr.", "LS-20199"),
    ):
        sheet.row((20, f"{label}: {value}"))
    sheet.row(
        (20, f"See our price list of {other}; goods up to {sheet.amount(Decimal('99999.99'))} are insured."),
        step=10,
    )


def _foot(sheet: _Sheet, name: str) -> None:
    locale = sheet.locale
    sheet.y = 270
    web = name.split()[0].lower()
    sheet.row((20, name), (75, f"www.{web}.com"))
    sheet.row(
        (20, "Hauptstr. 1"),
        (75, f"{locale.vat_label} {locale.vat_id}" if locale.vat_id else "Registered office"),
    )
    sheet.row((20, "63571 Gelnhausen"), (75, f"IBAN {locale.iban}" if locale.iban else f"mail@{web}.com"))
