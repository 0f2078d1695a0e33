"""How values look on a page."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any
from urllib.parse import quote

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from muster.events.costs import cost_in_words
from muster.events.event_summary import event_summary

# Airflow keeps the theme a person chose in the browser; a frame has no other way to learn of it.
THEME_SCRIPT = (
    'const paint = () => { document.documentElement.dataset.theme = localStorage.getItem("theme") ?? "system"; };'
    ' paint(); addEventListener("storage", paint);'
)
"""The only script of these pages; their policy names it by its hash, so that no other one runs."""
LONGEST_VALUE = 50_000
"""Characters of JSON shown of one event; the JSON of its run has all of it."""


def environment() -> Environment:
    """The templates. Everything they show is escaped, whatever the name of the template."""
    made = Environment(
        loader=PackageLoader("muster_airflow.api"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    made.globals["theme_script"] = THEME_SCRIPT
    made.filters.update(
        pretty=pretty, clock=clock, time=time_of_day, took=took, usd=usd, segment=segment, event_summary=event_summary
    )
    return made


def pretty(value: Any) -> str:
    """A value as indented JSON, cut when it is very long."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_VALUE else f"{text[:LONGEST_VALUE]}\n… cut after {LONGEST_VALUE:,} characters"


def clock(at: datetime | None) -> Markup:
    """A moment, to the second."""
    return _stamp(at, "%Y-%m-%d %H:%M:%S")


def time_of_day(at: datetime | None) -> Markup:
    """A moment of a day that is known, to the millisecond."""
    return _stamp(at, "%H:%M:%S.%f", cut=3)


def took(began: datetime | None, ended: datetime | None) -> str:
    """How long something took, in two units at most."""
    if began is None or ended is None:
        return ""
    seconds = max(0.0, (ended - began).total_seconds())
    if seconds < 60:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} min {rest} s"
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours < 48 else f"{hours // 24} d {hours % 24} h"


def usd(amount: Decimal, calls: int = 0, unpriced: int = 0) -> str:
    """What model calls cost in dollars, to the cent or, below one, as exact as it is; what nobody knows is said."""
    if unpriced:
        return cost_in_words(amount, calls, unpriced)
    if amount == 0 or amount >= 1:
        return f"{amount:.2f} USD"
    return f"{amount.normalize():f} USD"


def segment(text: str | None) -> str:
    """Text as one part of a path."""
    return quote(text or "", safe="")


def _stamp(at: datetime | None, form: str, cut: int = 0) -> Markup:
    if at is None:
        return Markup("–")
    moment = at.astimezone(UTC)
    text = moment.strftime(form)
    full = moment.isoformat(timespec="milliseconds")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(full, text[: len(text) - cut])
