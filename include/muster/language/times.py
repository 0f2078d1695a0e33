"""Filters that reckon with dates: what a week or a month ago was."""

from __future__ import annotations

from datetime import date, datetime, time, timedelta

from muster.language.problems import kind_of

WEEKDAYS = ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday")


def as_date(value: object, name: str) -> date:
    """A date or a moment; a text is read as ISO 8601. Raises TypeError or ValueError."""
    if isinstance(value, str):
        return datetime.fromisoformat(value) if len(value) > len("2026-01-31") else date.fromisoformat(value)
    if not isinstance(value, date):
        raise TypeError(f"`{name}` takes a date, not {kind_of(value)}")
    return value


def add_days(value: object, days: int) -> date:
    """The date so many days later, or earlier where the number is below 0; a moment keeps its time of day."""
    if isinstance(days, bool) or not isinstance(days, int):
        raise TypeError("`add_days` takes a whole number of days: write `| int` behind what is none")
    try:
        return as_date(value, "add_days") + timedelta(days=days)
    except OverflowError:
        raise ValueError(f"there is no date {days} days from there") from None


def start_of_week(value: object, first: str = "monday") -> date:
    """The first day of the week it is in; of a moment, its midnight. `first` is the day on which weeks begin."""
    if first not in WEEKDAYS:
        raise ValueError(f"`start_of_week` takes a day such as `monday`, not `{first}`")
    day = as_date(value, "start_of_week")
    return _midnight(add_days(day, -((day.weekday() - WEEKDAYS.index(first)) % 7)))


def start_of_month(value: object) -> date:
    """The first day of the month it is in; of a moment, its midnight."""
    return _midnight(as_date(value, "start_of_month").replace(day=1))


def _midnight(day: date) -> date:
    return datetime.combine(day, time(), tzinfo=day.tzinfo) if isinstance(day, datetime) else day
