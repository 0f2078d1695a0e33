"""`bell`: a kind of trigger that nothing of Muster knows; somebody rings."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from muster.language.problems import Problem
from muster.language.resolved import ResolvedTrigger
from muster.language.spot import Spot
from muster.language.trigger_kind import Startable, TriggerKind, startable
from muster.yaml_model import Name, YamlModel


class BellTrigger(YamlModel):
    """Starts a run when somebody rings."""

    bell: Name
    """The bell's name."""


class ResolvedBell(ResolvedTrigger):
    """Somebody rings."""

    bell: str

    @property
    def said(self) -> str:
        """Which bell."""
        return f"the bell {self.bell}"


def _resolve(trigger: BellTrigger, automation: Startable, settings: Mapping[str, Any]) -> ResolvedBell:
    return ResolvedBell(bell=trigger.bell)


def _check(trigger: BellTrigger, automation: Startable, spot: Spot) -> Iterator[Problem]:
    yield from startable(automation, None, spot)


TRIGGER = TriggerKind(
    name="bell",
    place=30,
    model=BellTrigger,
    resolved=ResolvedBell,
    known_by="bell",
    resolve=_resolve,
    check=_check,
)
