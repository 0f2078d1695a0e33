"""`schedule`: set times."""

from __future__ import annotations

import re
from collections.abc import Iterator
from functools import lru_cache

from pydantic import Field

from muster.language.explain import Located
from muster.language.problems import Problem, did_you_mean
from muster.language.reading import Path
from muster.language.resolved import ResolvedTrigger
from muster.language.spot import Spot
from muster.language.trigger_kind import Startable, TriggerKind, startable
from muster.yaml_model import YamlModel

PRESETS = ("@hourly", "@daily", "@weekly", "@monthly", "@quarterly", "@yearly")
"""The names of schedules that Airflow knows."""


class ScheduleTrigger(YamlModel):
    """Starts a run at set times."""

    schedule: str = Field(min_length=1, max_length=200)
    """A cron expression of five fields, or `@hourly`, `@daily`, `@weekly`, `@monthly`, `@quarterly`, `@yearly`."""
    timezone: str = "UTC"
    """The time zone the times are meant in, for example `Europe/Berlin`."""


class ResolvedSchedule(ResolvedTrigger):
    """Set times."""

    schedule: str
    timezone: str | None = None

    @property
    def said(self) -> str:
        """The times, and where they are meant."""
        return f"{self.schedule} {self.timezone or ''}".strip()


def _check(trigger: ScheduleTrigger, automation: Startable, spot: Spot) -> Iterator[Problem]:
    above = automation.triggers[: int(spot.path[-1])]
    if any(isinstance(other, ScheduleTrigger) for other in above):
        yield spot.problem("an automation has one schedule", suggestion="Write the times as one expression.")
    yield from check_schedule(trigger.schedule, (*spot.path, "schedule"), spot.document)
    if not _zone_exists(trigger.timezone):
        message = f"there is no time zone `{trigger.timezone}`"
        yield spot.problem(message, "timezone", suggestion=_zone_meant(trigger.timezone))
    yield from startable(automation, None, spot)


def check_schedule(schedule: str, path: Path, document: Located) -> Iterator[Problem]:
    """What is wrong with the times that a schedule names."""
    if schedule.startswith("@"):
        if schedule not in PRESETS:
            suggestion = did_you_mean(schedule, PRESETS) or f"There are {', '.join(PRESETS)}."
            yield document.problem(f"there is no schedule `{schedule}`", path, suggestion=suggestion)
    elif mistake := cron_mistake(schedule):
        yield document.problem(mistake, path, suggestion=_times_meant(schedule))


def _times_meant(schedule: str) -> str | None:
    """What is written for times that are no cron expression."""
    fields = schedule.split()
    if len(fields) == 6 and cron_mistake(five := " ".join(fields[1:])) is None:
        return f'Leave the seconds out: `"{five}"`.'
    if len(fields) != 5:
        return 'Mondays at 7 are `"0 7 * * 1"`.' if re.search("[a-z]{3}", schedule, re.IGNORECASE) else None
    short = re.sub(_LONG, lambda day: day[0][:3].upper(), schedule)
    if short != schedule and cron_mistake(short) is None:
        return f'Write `"{short}"`.'
    return _BOUNDS


_LONG = re.compile(r"[a-z]{4,}", re.IGNORECASE)
"""The name of a day or a month, which cron knows by its first three letters."""
_BOUNDS = (
    "Minutes are 0 to 59, hours 0 to 23, days 1 to 31, months 1 to 12, weekdays 0 (Sunday) to 6 or `MON` to `SUN`."
)


@lru_cache(maxsize=1024)
def cron_mistake(expression: str) -> str | None:
    """What is wrong with a cron expression of five fields, or None."""
    # Imported late: an automation without a schedule does not pay for it.
    from croniter import CroniterError, croniter  # type: ignore[import-untyped]

    if len(fields := expression.split()) != 5:
        return f"a schedule has five fields (minute, hour, day, month, weekday), not {len(fields)}"
    # croniter's `R` is another time for each process that reads it.
    if not re.fullmatch(r"[0-9A-Za-z*/,\- #?]+", expression) or re.search(r"\b[Rr]\b", expression):
        return f"`{expression}` is not a cron expression"
    try:
        croniter(expression).get_next()
    except (CroniterError, ValueError) as error:
        wrong = next((field for place, field in enumerate(fields) if _is_wrong(field, place)), None)
        return f"`{expression}` is not a cron expression: {f'`{wrong}` cannot stand there' if wrong else error}"
    return None


def _is_wrong(field: str, place: int) -> bool:
    from croniter import CroniterError, croniter

    try:
        croniter(" ".join([*["*"] * place, field, *["*"] * (4 - place)])).get_next()
    except (CroniterError, ValueError):
        return True
    return False


@lru_cache(maxsize=256)
def _zone_exists(name: str) -> bool:
    from zoneinfo import ZoneInfo

    try:
        ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        return False
    return True


def _zone_meant(name: str) -> str | None:
    """An abbreviation resembles others that are hours away, so it gets no guess."""
    if name.isupper() and "/" not in name:
        return "Name a city, whose summer time is known: `Europe/Berlin`."
    return did_you_mean(name, _zones())


@lru_cache(maxsize=1)
def _zones() -> frozenset[str]:
    from zoneinfo import available_timezones

    return frozenset(available_timezones())


TRIGGER = TriggerKind(
    name="schedule",
    place=10,
    model=ScheduleTrigger,
    resolved=ResolvedSchedule,
    known_by="schedule",
    resolve=lambda trigger, automation, settings: ResolvedSchedule(
        schedule=trigger.schedule, timezone=trigger.timezone
    ),
    check=_check,
)
