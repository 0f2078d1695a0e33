"""The kinds of step: one module for each, which says in `KIND` all that the language knows of it."""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from muster.language.resolved_step import ResolvedStep
from muster.language.step_kind import StepKind
from muster.language.steps import StepBase, union_of

KINDS: dict[str, StepKind[Any]] = {
    kind.name: kind
    for kind in sorted(
        (import_module(f"{__name__}.{module.name}").KIND for module in iter_modules(__path__)),
        key=lambda kind: kind.place,
    )
}
"""The kinds of step by name, in their order."""

KIND_KEYS = {key: kind.name for kind in KINDS.values() for key in kind.keys}
"""The key that makes a step what it is, and the kind it makes it."""

if TYPE_CHECKING:
    Step = StepBase
    AnyStep = ResolvedStep
else:
    Step = union_of({name: kind.model for name, kind in KINDS.items()}, KIND_KEYS)
    AnyStep = Annotated[Union[tuple(kind.resolved for kind in KINDS.values())], Field(discriminator="kind")]  # noqa: UP007
"""One step, exactly one kind: as it is written, and as it is in a definition."""
