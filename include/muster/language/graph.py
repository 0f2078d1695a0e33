"""The order of steps: what each waits for, what is before it, and whether they wait in a circle."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from muster.language.steps import StepBase

After = dict[str, tuple[str, ...]]
"""For each step, the steps it waits for."""


def waits(steps: Sequence[StepBase]) -> After:
    """What each step waits for: its `after` and the branches it is a way of; without either, the step above."""
    branches = branches_to(steps)
    after: After = {}
    for position, step in enumerate(steps):
        leading = branches.get(step.id, [])
        above = [steps[position - 1].id] if position and not leading else []
        named = above if step.after is None else step.after
        after[step.id] = tuple(dict.fromkeys([*named, *leading]))
    return after


def branches_to(steps: Sequence[StepBase]) -> dict[str, list[str]]:
    """For each step that is a way of a branch, the ids of those branches."""
    branches: dict[str, list[str]] = {}
    for step in steps:
        for target in dict.fromkeys(target for way in step.ways for target in way.to):
            branches.setdefault(target, []).append(step.id)
    return branches


def before(after: Mapping[str, Sequence[str]]) -> dict[str, frozenset[str]]:
    """For each step, every step that has ended when it begins. The steps must not wait in a circle."""
    ancestors: dict[str, frozenset[str]] = {}
    for start in after:
        pending = [start]
        while pending:
            step = pending[-1]
            missing = [earlier for earlier in after.get(step, ()) if earlier not in ancestors]
            if missing:
                pending.extend(missing)
                continue
            pending.pop()
            direct = after.get(step, ())
            ancestors[step] = frozenset(direct).union(*(ancestors[earlier] for earlier in direct))
    return ancestors


def circle(after: Mapping[str, Sequence[str]]) -> list[str] | None:
    """Steps that wait for each other, the first one again at the end; None when there are none."""
    done: set[str] = set()
    for start in after:
        path: list[str] = []
        choices = [iter([start])]
        while choices:
            step = next(choices[-1], None)
            if step is None:
                choices.pop()
                if path:
                    done.add(path.pop())
            elif step in path:
                return [*path[path.index(step) :], step]
            elif step not in done:
                path.append(step)
                choices.append(iter(after.get(step, ())))
    return None
