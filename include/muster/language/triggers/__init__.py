"""The kinds of trigger: one module for each, which says in `TRIGGER` all that the language knows of it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Any

from muster.language.resolved import ResolvedTrigger
from muster.language.steps import union_of
from muster.language.trigger_kind import TriggerKind
from muster.yaml_model import YamlModel

TRIGGERS: dict[str, TriggerKind[Any]] = {
    kind.name: kind
    for kind in sorted(
        (import_module(f"{__name__}.{module.name}").TRIGGER for module in iter_modules(__path__)),
        key=lambda kind: kind.place,
    )
}
"""The kinds of trigger by name, in their order."""

if TYPE_CHECKING:
    Trigger = YamlModel
    AnyTrigger = ResolvedTrigger
else:
    Trigger = union_of({name: kind.model for name, kind in TRIGGERS.items()})
    AnyTrigger = union_of(
        {name: kind.resolved for name, kind in TRIGGERS.items()},
        {kind.known_by: name for name, kind in TRIGGERS.items()},
    )
"""What starts a run: as it is written, and as it is in a definition."""


def kind_of(trigger: YamlModel) -> TriggerKind[Any]:
    """The kind of a trigger as it is written."""
    return next(kind for kind in TRIGGERS.values() if isinstance(trigger, kind.model))
