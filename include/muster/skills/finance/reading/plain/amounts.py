"""Amounts of money as people write them: 1.234,56 and 1,234.56 and 1 234,56 and 1'234.56."""

from __future__ import annotations

import re
from collections.abc import Iterator
from decimal import Decimal

from muster.skills.finance.codes import CURRENCIES

_SPACE = "\u00a0\u2009\u202f "
_AMOUNT = re.compile(
    rf"""
    (?<![\w.,/])
    (?P<sign>[-−–]\s?|\()?
    (?P<money>[€£$₹]\s?|EUR\s?|Rs\.?\s?)?
    (?P<sign2>[-−]\s?)?
    (?P<whole>\d{{1,3}}(?:(?P<group>[.,'’{_SPACE}])\d{{3}})(?:(?P=group)\d{{3}})*|\d{{1,2}}(?:,\d{{2}})+,\d{{3}}|\d+)
    (?P<point>[.,])(?P<cents>\d\d)
    (?P<after>\s?[-−](?!\d))?
    (?![\d%]|[.,]\d|\s?%)
    """,
    re.VERBOSE,
)
_PERCENT = re.compile(r"(?<![\d.,])(\d{1,2}(?:[.,]\d{1,3})?)\s?%")

_CODE = re.compile(r"(?<![A-Za-z])([A-Z]{3})(?![A-Za-z])")
_ENDS_IN_AMOUNT = re.compile(r"\d[.,]\d\d\s*$")
_BEGINS_WITH_AMOUNT = re.compile(rf"[\s:)]*[-−]?\d[\d.,'{_SPACE}]*[.,]\d\d(?!\d)")
_UNMISTAKABLE = frozenset({"EUR", "USD", "GBP", "CHF"})
"""Codes that are no words, so that they need no amount beside them."""
_SIGNS = {"€": "EUR", "£": "GBP", "₹": "INR", "zł": "PLN", "Kč": "CZK", "₺": "TRY", "₴": "UAH", "₩": "KRW", "₪": "ILS"}
_COMPOUND = {
    "US$": "USD",
    "CA$": "CAD",
    "C$": "CAD",
    "AU$": "AUD",
    "A$": "AUD",
    "NZ$": "NZD",
    "HK$": "HKD",
    "S$": "SGD",
}
_NAMES = re.compile(r"\b(?:(us|u\.s\.|canadian|australian|hong kong|singapore|new zealand) dollars?)\b", re.IGNORECASE)
_DOLLARS = {
    "us": "USD",
    "u.s.": "USD",
    "canadian": "CAD",
    "australian": "AUD",
    "hong kong": "HKD",
    "singapore": "SGD",
    "new zealand": "NZD",
}
_AMBIGUOUS = {
    r"\$": ("USD", "CAD", "AUD", "NZD", "HKD", "SGD", "MXN", "TWD", "CLP", "ARS", "COP", "BRL"),
    r"(?i)\bkr\b": ("SEK", "NOK", "DKK", "ISK"),
    r"[¥￥]": ("JPY", "CNY"),
    r"\bRs\b": ("INR", "PKR", "LKR", "NPR", "MUR"),
}
_RUPEES = {"india": "INR", "pakistan": "PKR", "sri lanka": "LKR", "nepal": "NPR", "mauritius": "MUR"}


def amounts_in(text: str) -> list[Decimal]:
    """The amounts with two decimals, in order; the last mark before them is the decimal one."""
    return [amount for match in _AMOUNT.finditer(text) if (amount := _value(match)) is not None]


def whole_amount(text: str) -> Decimal | None:
    """The amount the text consists of, but for a currency."""
    bare = re.sub(r"[A-Z]{3}|[€£$₹]|Rs\.?|zł|Kč|kr\.?", " ", text).strip()
    match = _AMOUNT.fullmatch(bare)
    return _value(match) if match else None


def _value(match: re.Match[str]) -> Decimal | None:
    if match["group"] == match["point"]:
        return None
    digits = re.sub(r"\D", "", match["whole"])
    amount = Decimal(f"{digits}.{match['cents']}")
    return -amount if match["sign"] or match["sign2"] or match["after"] else amount


def percents_in(text: str) -> list[Decimal]:
    """The percentages, in order."""
    return [Decimal(match[1].replace(",", ".")) for match in _PERCENT.finditer(text)]


def currencies_in(text: str) -> set[str]:
    """The currencies the text names beyond doubt; a bare $ or kr could be several and names none."""
    return set(_codes(text)) | set(_signs(text)) | set(_names(text))


def currencies_meant(text: str) -> set[str]:
    """The currencies that a sign of several countries, such as a bare $, may mean here."""
    return {code for sign, codes in _AMBIGUOUS.items() if re.search(sign, text) for code in codes}


def _codes(text: str) -> Iterator[str]:
    for match in _CODE.finditer(text):
        before, after = text[max(0, match.start() - 8) : match.start()], text[match.end() : match.end() + 24]
        beside_amount = _ENDS_IN_AMOUNT.search(before) or _BEGINS_WITH_AMOUNT.match(after)
        if match[1] in CURRENCIES and (beside_amount or match[1] in _UNMISTAKABLE):
            yield match[1]


def _signs(text: str) -> Iterator[str]:
    for sign, code in _SIGNS.items():
        if sign in text:
            yield code
    for sign, code in _COMPOUND.items():
        if re.search(rf"(?<![A-Za-z]){re.escape(sign)}", text):
            yield code


def _names(text: str) -> Iterator[str]:
    for match in _NAMES.finditer(text):
        yield _DOLLARS[match[1].lower()]
    if re.search(r"\bRs\.?\s?-?\d", text):
        countries = {code for name, code in _RUPEES.items() if re.search(rf"\b{name}\b", text, re.IGNORECASE)}
        if len(countries) == 1:
            yield countries.pop()
