"""Who sent a plain invoice: a name is believed when two independent signs point at it."""

from __future__ import annotations

import re
from collections import Counter, defaultdict

from muster.skills.finance.reading.plain.amounts import amounts_in
from muster.skills.finance.reading.plain.labels import hits_in, squeeze
from muster.skills.finance.reading.plain.layout import Cell, Page

_FORMS = (
    r"gmbh(?: ?& ?co\.? ?kg)?|ag|se|kg|ohg|ug(?: \(haftungsbeschränkt\))?|e\.? ?k\.?|e\.? ?v\.?|b\.? ?v\.?|"
    r"n\.? ?v\.?|"
    r"v\.? ?o\.? ?f\.?|s\.? ?a\.? ?r\.? ?l\.?|s\.? ?a\.? ?s\.?|s\.? ?a\.?|eurl|s\.? ?r\.? ?l\.?|"
    r"s\.? ?p\.? ?a\.?|"
    r"s\.? ?l\.?(?: ?u\.?)?|lda\.?|ltda\.?|(?:pvt\.? |private )?ltd\.?|limited|plc|llc|llp|inc\.?|"
    r"incorporated|corp\.?|"
    r"corporation|pty\.? ltd\.?|sp\. z o\.? ?o\.?|s\.r\.o\.|a\.s\.|kft\.?|zrt\.?|ab|oyj?|a/s|aps|as"
)
_COMPANY = re.compile(
    rf"(?<![\w@.])(?P<name>(?:[A-Z0-9][\w&.'’+-]*|[a-z]-[A-Z]\w+)(?:,? (?:&|und|and|et|en|y|e|de|of|"
    rf"[A-Z0-9][\w&.'’+-]*)){{0,5}}?"
    rf",? (?i:{_FORMS}))(?![\w])"
)
_SELLER_LABEL = re.compile(
    r"^(?:sold by|seller|supplier|vendor|service provider|issued by|invoice from|from|lieferant|"
    r"rechnungssteller|verkäufer|"
    r"fournisseur|vendeur|émetteur|verkoper|leverancier|proveedor|vendedor|emisor|fornitore|cedente|"
    r"fornecedor|sprzedawca)\s?:",
    re.IGNORECASE,
)
_MARKETPLACE_LABEL = re.compile(
    r"^sold by|^vendu par|^verkauft von|^verkocht door|^vendido por|^venduto da", re.IGNORECASE
)
_HOLDER_LABEL = re.compile(
    r"(?:account holder|account name|beneficiary|kontoinhaber|titulaire(?: du compte)?|t\.?n\.?v\.?|"
    r"ten name van|"
    r"rekeninghouder|titular(?: de la cuenta)?|intestatario|"
    r"intestato a)\s?:?\s+(?P<name>[^\s:].{2,60}?)(?:\s+[-–|,]\s.*)?$",
    re.IGNORECASE,
)
_BUYER_LABEL = re.compile(
    r"^(?:bill(?:ed|ing)? ?to|invoice to|invoiced to|ship(?:ping)? ?to|deliver(?:y)? to|sold to|customer|"
    r"client|buyer|attn|"
    r"billing address|bill to address|shipping address|rechnungsadresse|rechnungsempfänger|rechnung an|"
    r"lieferadresse|"
    r"lieferanschrift|kunde|facturé à|factur[ée]e? à|adresse de (?:facturation|livraison)|destinataire|"
    r"acheteur|"
    r"factuuradres|afleveradres|klant|aan|facturar a|cliente|comprador|destinatario|acquirente|spett|"
    r"nabywca|odbiorca|till|an)\b",
    re.IGNORECASE,
)
_BUYER_BLOCK = 6
"""How many lines under its label the buyer's address may take."""
_REGISTERED = re.compile(
    r"\b(?:vat|tva|btw|iva|ust|mwst|siret|siren|kvk|hrb|registergericht|company (?:no|reg)|siège social|"
    r"registered office|"
    r"iban|steuer-?nr|cvr|org\.? ?nr|p\.? ?iva|cif|nif|nip|regon|rcs|capital)\b",
    re.IGNORECASE,
)
_BANK = re.compile(r"bank|banque|banco\b|banca\b|sparkasse|raiffeisen|postfinance|crédit agricole", re.IGNORECASE)
"""The seller's bank is named on most invoices, and has a legal form too."""
_SENDER_LINE = re.compile(r"^(?P<name>[^·•|–-]{3,60}?)\s*[·•|–-]\s+.*\d.*[·•|–-]\s*.*\b\d{4,5}\b", re.UNICODE)
_DOMAIN = re.compile(r"(?:@|www\.|https?://(?:www\.)?|\b)((?:[a-z0-9-]+\.)+(?:[a-z]{2,4}))\b", re.IGNORECASE)
_PUBLIC_DOMAINS = frozenset(
    {"gmail", "googlemail", "outlook", "hotmail", "yahoo", "gmx", "web", "icloud", "aol", "t-online", "tcpdf"}
)
_NEEDED = 2


def supplier(page: Page) -> str | None:
    """The supplier's name, or None when fewer than two signs agree or two names are as likely."""
    buyers = _buyers(page)
    signs: dict[str, set[str]] = defaultdict(set)
    spelled: dict[str, str] = {}
    repeated: Counter[str] = Counter()
    for name, sign in _signs(page):
        key = _key(name)
        if len(key) >= 3 and key not in buyers and not _BANK.search(name):
            signs[key].add(sign)
            repeated[key] += sign == "legal form"
            spelled[key] = max(spelled.get(key, name), name, key=len)
    _add_domains(page, signs, repeated)
    ranked = sorted(signs, key=lambda key: len(signs[key]), reverse=True)
    if not ranked or len(signs[ranked[0]]) < _NEEDED:
        return None
    if len(ranked) > 1 and len(signs[ranked[1]]) == len(signs[ranked[0]]):
        return None
    best = ranked[0]
    return None if _sold_elsewhere(page, signs[best]) else spelled[best]


def _signs(page: Page) -> list[tuple[str, str]]:
    """Names with the sign that points at each."""
    signs: list[tuple[str, str]] = []
    for cell in page.cells:
        text = cell.text.strip()
        names = [match["name"] for match in _COMPANY.finditer(text)]
        signs += [(name, "legal form") for name in names]
        if match := _HOLDER_LABEL.search(text):
            signs.append((match["name"], "account holder"))
        if match := _SENDER_LINE.match(text):
            signs.append((match["name"], "sender line"))
        signs += [(name, "label") for name in _labelled(page, cell)]
        if _heads_a_block(page, cell):
            signs.append((names[0] if names else text, "registered block"))
    return signs


def _labelled(page: Page, cell: Cell) -> list[str]:
    match = _SELLER_LABEL.match(cell.text.strip())
    if not match:
        return []
    rest = cell.text.strip()[match.end() :].strip()
    if rest:
        return [company["name"]] if (company := _COMPANY.search(rest)) else [rest.rstrip(" ,")]
    return [under.text.strip(" ,") for under in [page.below(cell)] if under is not None]


def _heads_a_block(page: Page, cell: Cell) -> bool:
    """True for a short text with the particulars of a registered company under it."""
    if not _could_be_name(cell):
        return False
    if cell.line and any(above.overlap(cell) for above in page.lines[cell.line - 1] if _near(above, cell)):
        return False
    below = page.column_below(cell, 10)
    beside = [other for under in below[:4] for other in page.right_of(under)]
    return any(_REGISTERED.search(other.text) for other in (*below, *beside))


def _could_be_name(cell: Cell) -> bool:
    text = cell.text
    is_short = len(text.split()) <= 6 and re.search(r"[^\W\d_]{3}", text) is not None
    return is_short and not re.search(r":|@|www\.", text) and not amounts_in(text) and not hits_in(cell)


def _near(above: Cell, below: Cell) -> bool:
    return above.page == below.page and below.top - above.bottom < 0.8 * below.height


def buyer_cells(page: Page) -> list[tuple[str, Cell]]:
    """The texts and cells of the buyer's address and the place of delivery, where a label marks them."""
    cells: list[tuple[str, Cell]] = []
    for cell in page.cells:
        if match := _BUYER_LABEL.match(cell.text.strip()):
            cells.append((cell.text.strip()[match.end() :].strip(" :"), cell))
            cells += [(under.text, under) for under in page.column_below(cell, _BUYER_BLOCK)]
    return cells


def _buyers(page: Page) -> set[str]:
    """The names in the buyer's address, which no sign makes the supplier."""
    names: set[str] = set()
    for text, _ in buyer_cells(page):
        names |= {_key(text), *(_key(company["name"]) for company in _COMPANY.finditer(text))}
    return names - {""}


def _add_domains(page: Page, signs: dict[str, set[str]], repeated: Counter[str]) -> None:
    for domain in _domains(page.text):
        for key, own_signs in signs.items():
            alike = len(domain) >= 4 and len(key) >= 4 and (domain in key or key in domain)
            # A buyer's name may stand beside its mail address too, but only once and without another sign.
            if alike and (repeated[key] > 1 or own_signs - {"legal form"}):
                own_signs.add("domain")


def _domains(text: str) -> set[str]:
    names = (match[1].lower().split(".")[-2] for match in _DOMAIN.finditer(text))
    return {squeeze(name)[0] for name in names if name not in _PUBLIC_DOMAINS}


def _sold_elsewhere(page: Page, signs: set[str]) -> bool:
    """True on a marketplace's invoice: who sold and who invoices may be two companies."""
    marketplace = any(_MARKETPLACE_LABEL.match(cell.text.strip()) for cell in page.cells)
    return marketplace and "domain" not in signs and bool(_domains(page.text))


def _key(name: str) -> str:
    """A name without its legal form, as names are compared."""
    bare = re.sub(rf",? (?i:{_FORMS})\W*$", "", name.strip())
    return squeeze(bare)[0]
