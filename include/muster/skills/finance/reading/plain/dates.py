"""Dates as people write them, in several languages; what could be read as two days is no date."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from datetime import date
from typing import Literal

Order = Literal["day", "month"]
"""Which of the two comes first in a date like 03/04/2026."""

_MONTHS = (
    ("jan", "gen", "ene", "sty", "tammi", "led"),
    ("feb", "fev", "feb", "lut", "helmi", "uno"),
    ("mar", "mrt", "maa", "mrz", "maerz", "bre"),
    ("apr", "avr", "abr", "kwi", "huhti", "dub"),
    ("may", "mai", "mei", "mag", "maj", "touko", "kve"),
    ("jun", "juin", "giu", "cze", "kesa", "cerven"),
    ("jul", "juil", "lug", "lip", "heina", "cervenec"),
    ("aug", "aou", "ago", "sie", "elo", "srp"),
    ("sep", "set", "wrz", "syys", "zar"),
    ("oct", "okt", "ott", "out", "paz", "loka", "rij"),
    ("nov", "marras", "lis"),
    ("dec", "dez", "dic", "des", "gru", "joulu", "pro"),
)
"""How the months' names begin."""

_NAME = r"([^\W\d_]{3,}?)\.?"
_NUMERIC = re.compile(r"(?<!\d)(\d{1,2})\s?([./-])\s?(\d{1,2})\s?\2\s?(\d{4}|\d{2})(?!\d)")
_ISO = re.compile(r"(?<!\d)(\d{4})([-/.])(\d{1,2})\2(\d{1,2})(?!\d)")
_DAY_FIRST = re.compile(
    rf"(?<!\d)(\d{{1,2}})(?:st|nd|rd|th|er|\.)?[\s-]*(?:de\s+|of\s+)?{_NAME}[\s,-]*(?:de\s+|del\s+)?(\d{{4}})(?!\d)"
)
_MONTH_FIRST = re.compile(rf"\b{_NAME}\s+(\d{{1,2}})(?:st|nd|rd|th)?\s*,?\s+(\d{{4}})(?!\d)")


def find_date(text: str, order: Order | None) -> date | None:
    """The date the text begins with, or None: there is none, or it could be read in two ways."""
    for pattern in (_ISO, _NUMERIC, _DAY_FIRST, _MONTH_FIRST):
        if (match := pattern.search(text)) and not text[: match.start()].strip(" :.–-,"):
            return _read(pattern, match, order)
    return None


def whole_date(text: str, order: Order | None) -> date | None:
    """The date the text consists of."""
    for pattern in (_ISO, _NUMERIC, _DAY_FIRST, _MONTH_FIRST):
        if match := pattern.fullmatch(text.strip(" :.")):
            return _read(pattern, match, order)
    return None


def has_date(text: str) -> bool:
    """True when there is something like a date in the text."""
    return any(pattern.search(text) for pattern in (_ISO, _NUMERIC))


def order_of(text: str) -> Order | None:
    """The order the document's dates show by a day above twelve; None when they show none or both."""
    orders: set[Order] = set()
    for first, second in _ambiguous_pairs(text):
        if first > 12 >= second:
            orders.add("day")
        elif second > 12 >= first:
            orders.add("month")
    return orders.pop() if len(orders) == 1 else None


def _ambiguous_pairs(text: str) -> Iterator[tuple[int, int]]:
    for match in _NUMERIC.finditer(text):
        if match[2] != ".":
            yield int(match[1]), int(match[3])


def _read(pattern: re.Pattern[str], match: re.Match[str], order: Order | None) -> date | None:
    if pattern is _ISO:
        return _date(match[1], match[3], match[4])
    if pattern is _DAY_FIRST:
        return _date(match[3], _month(match[2]), match[1])
    if pattern is _MONTH_FIRST:
        return _date(match[3], _month(match[1]), match[2])
    return _numeric(match, order)


def _numeric(match: re.Match[str], order: Order | None) -> date | None:
    first, second = int(match[1]), int(match[3])
    year = match[4] if len(match[4]) == 4 else f"20{match[4]}"
    if match[2] == "." or first == second or first > 12:
        return _date(year, second, first)
    if second > 12:
        return _date(year, first, second)
    if order is None:
        return None
    return _date(year, second, first) if order == "day" else _date(year, first, second)


def _month(name: str) -> int | None:
    plain = unicodedata.normalize("NFKD", name).casefold()
    plain = "".join(letter for letter in plain if not unicodedata.combining(letter))
    fits = {
        (len(start), number)
        for number, starts in enumerate(_MONTHS, start=1)
        for start in starts
        if plain.startswith(start)
    }
    return max(fits)[1] if fits else None


def _date(year: str, month: int | str | None, day: int | str) -> date | None:
    try:
        value = date(int(year), int(month or 0), int(day))
    except ValueError:
        return None
    return value if 1990 <= value.year <= 2100 else None
