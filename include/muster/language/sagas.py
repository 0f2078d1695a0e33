"""The order in which the steps of a definition are compensated."""

from __future__ import annotations

from collections.abc import Mapping

from muster.language.definition import Definition


def undone_after(definition: Definition) -> Mapping[str, tuple[str, ...]]:
    """For each step that can be undone, the steps whose compensations its own waits for; last steps first.

    Those are the nearest steps that came after it and can be undone too.
    """
    following: dict[str, list[str]] = {step.id: [] for step in definition.steps}
    for step in definition.steps:
        for before in step.after:
            following[before].append(step.id)
    nearest: dict[str, tuple[str, ...]] = {}
    for step_id in _last_first(following):
        undoable: dict[str, None] = {}
        for after in following[step_id]:
            own = definition.step(after).can_be_undone
            undoable.update(dict.fromkeys([after] if own else nearest[after]))
        nearest[step_id] = tuple(sorted(undoable))
    return {step_id: waits for step_id, waits in nearest.items() if definition.step(step_id).can_be_undone}


def compensation_order(definition: Definition) -> list[str]:
    """The steps that can be undone, each after all those its compensation waits for."""
    return list(undone_after(definition))


def _last_first(following: Mapping[str, list[str]]) -> list[str]:
    """All steps, each after everything that follows it, in an order that depends on the definition alone."""
    done: dict[str, None] = {}

    def visit(step_id: str) -> None:
        for after in following[step_id]:
            if after not in done:
                visit(after)
        done[step_id] = None

    for step_id in following:
        if step_id not in done:
            visit(step_id)
    return list(done)
