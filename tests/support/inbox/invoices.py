# ruff: noqa: E501
"""The bundled invoices: invented companies, accounts at a bank that does not exist, numbers with valid check digits."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from datetime import date, timedelta
from decimal import ROUND_HALF_UP, Decimal
from typing import Literal

CENT = Decimal("0.01")


@dataclass(frozen=True)
class Party:
    name: str
    street: str
    postal_code: str
    city: str
    vat_id: str
    email: str
    iban: str = ""
    register: str = ""
    slogan: str = ""


@dataclass(frozen=True)
class Line:
    number: str
    item: str
    name: str
    quantity: Decimal
    unit: str
    price: Decimal
    order_line: str | None = None

    @property
    def net(self) -> Decimal:
        return (self.quantity * self.price).quantize(CENT, ROUND_HALF_UP)

    @property
    def unit_name(self) -> str:
        return {"C62": "pcs", "MON": "month", "HUR": "h"}[self.unit]


@dataclass(frozen=True)
class Invoice:
    file: str
    format: Literal["ubl", "cii", "hybrid", "pdf"]
    seller: Party
    number: str
    issued: date
    lines: list[Line]
    order: str | None = None
    days: int = 30
    note: str = ""
    error: Decimal = field(default=Decimal(0))
    """What the sum of the lines is wrong by."""
    buyer: Party = field(default_factory=lambda: BUYER)

    @property
    def due(self) -> date:
        return self.issued + timedelta(days=self.days)

    @property
    def net(self) -> Decimal:
        return sum((line.net for line in self.lines), Decimal(0)) + self.error

    @property
    def vat(self) -> Decimal:
        return (self.net * 19 / 100).quantize(CENT, ROUND_HALF_UP)

    @property
    def gross(self) -> Decimal:
        return self.net + self.vat


def _line(
    number: int, item: str, name: str, quantity: str, price: str, *, unit: str = "C62", order: bool = True
) -> Line:
    return Line(str(number), item, name, Decimal(quantity), unit, Decimal(price), str(number * 10) if order else None)


BUYER = Party(
    "Nordlicht Apparatebau GmbH", "Speicherhof 12", "28217", "Bremen", "DE812304510",
    "rechnung@nordlicht-apparatebau.example", "DE34999999990000100100",
)  # fmt: skip
PAPER = Party(
    "Papierhaus Seidel GmbH", "Wilhelmshöher Allee 240", "34119", "Kassel", "DE812304528",
    "rechnung@papierhaus-seidel.example", "DE02999999990000200101", "HRB 99101 Kassel", "Everything an office writes on",
)  # fmt: skip
BEARINGS = Party(
    "Hansen Maschinenteile GmbH & Co. KG", "Werftstraße 8", "24939", "Flensburg", "DE291447104",
    "buchhaltung@hansen-maschinenteile.example", "DE88999999990000200202", "HRA 99202 Flensburg", "Bearings and drives",
)  # fmt: skip
COMPUTERS = Party(
    "Kolberg IT-Systeme GmbH", "Am Zirkus 3a", "10117", "Berlin", "DE312779051",
    "invoice@kolberg-it.example", "DE77999999990000200303", "HRB 99303 Berlin", "Workplaces that work",
)  # fmt: skip
CLEANING = Party(
    "Gebäudereinigung Wendt e.K.", "Lange Reihe 51", "28219", "Bremen", "DE268001436",
    "buero@wendt-reinigung.example", "DE66999999990000200404", "HRA 99404 Bremen", "Clean since 1987",
)  # fmt: skip
PACKAGING = Party(
    "Bergmann Verpackungen GmbH", "Industriering 17", "49393", "Lohne", "DE145209872",
    "faktura@bergmann-verpackungen.example", "DE55999999990000200505", "HRB 99505 Oldenburg", "Boxes for everything",
)  # fmt: skip
PHONES = Party(
    "Weser Telefonie AG", "Martinistraße 60", "28195", "Bremen", "DE308112654",
    "service@weser-telefonie.example", "DE44999999990000200606", "HRB 99606 Bremen", "Calls, lines and networks",
)  # fmt: skip
TOOLS = Party(
    "Lindner Werkzeugtechnik GmbH", "Bahnhofstraße 29", "42697", "Solingen", "DE274319066",
    "rechnungen@lindner-werkzeug.example", "DE33999999990000200707", "HRB 99707 Wuppertal", "Precision you can hold",
)  # fmt: skip

_STRAIGHT = Invoice(
    "01-papierhaus-seidel.xml", "ubl", PAPER, "RE-2026-4471", date(2026, 9, 3),
    [_line(1, "PS-1080", "Copy paper A4, 80 g, box", "40", "4.25"), _line(2, "PS-7731", "Toner cartridge black", "6", "62.50")],
    order="PO-2026-0117",
)  # fmt: skip

INVOICES = [
    _STRAIGHT,
    Invoice(
        "02-hansen-maschinenteile.xml", "cii", BEARINGS, "90218834", date(2026, 9, 7),
        [_line(1, "HM-6208", "Spindle bearing 6208", "8", "780.00"), _line(2, "HM-K40", "Shaft coupling K40", "12", "96.40")],
        order="PO-2026-0121", note="Delivered on 4 September 2026 with two pallets.",
    ),
    Invoice(
        "03-kolberg-it.pdf", "hybrid", COMPUTERS, "2026-R-0815", date(2026, 9, 9),
        [_line(1, "KI-DOCK3", "Docking station USB-C", "5", "289.00"), _line(2, "KI-M27", "Monitor 27 inch", "5", "214.00")],
        order="PO-2026-0125", days=14,
    ),
    Invoice(
        "04-gebaeudereinigung-wendt.xml", "ubl", CLEANING, "W-1197", date(2026, 9, 1),
        [_line(1, "UHR", "Office cleaning August 2026", "1", "640.00", unit="MON", order=False),
         _line(2, "GLAS", "Window cleaning", "6", "35.00", unit="HUR", order=False)],
        days=10, error=Decimal("90.00"),
    ),
    Invoice(
        "05-bergmann-verpackungen.xml", "ubl", PACKAGING, "26/30977", date(2026, 9, 11),
        [_line(1, "BV-400", "Folding carton 400 x 300 x 200", "500", "1.36"), _line(2, "BV-T50", "Packing tape 50 mm", "60", "2.15")],
        order="PO-2026-0130",
    ),
    Invoice(
        "06-weser-telefonie.pdf", "pdf", PHONES, "WT-5530921", date(2026, 9, 2),
        [_line(1, "NET-100", "Company network 100, August 2026", "1", "129.90", unit="MON", order=False),
         _line(2, "LINE", "Telephone lines", "11", "5.00", order=False)],
        days=14,
    ),
    Invoice(
        "07-lindner-werkzeugtechnik.pdf", "hybrid", replace(TOOLS, iban="DE40999999990000666666"), "L-20260914-3",
        date(2026, 9, 14),
        [_line(1, "LW-MS25", "Outside micrometer 0-25 mm", "4", "118.00")],
        order="PO-2026-0133", note="Please note our new bank account.",
    ),
    replace(_STRAIGHT, file="08-papierhaus-seidel.xml", format="cii"),
]  # fmt: skip
