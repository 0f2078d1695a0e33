"""What a task that came from elsewhere may say of what it returns: a JSON Schema that is quickly checked."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from muster.coordination.plans import Task
from muster.language.returns import schema_mistake

_NOT_PLAIN = frozenset({"$ref", "$dynamicRef", "pattern", "patternProperties"})
"""Words of a JSON Schema that a plan from elsewhere may not use: what they ask for can take for ever to find out."""
_LARGEST = 500


def not_plain(tasks: Sequence[Task]) -> Iterator[str]:
    """What is wrong with the `returns` of tasks that were not written in the file."""
    for task in tasks:
        if (said := _mistake(task.returns)) is not None:
            yield f"task `{task.id}`: {said}"


def _mistake(returns: dict[str, object] | str | None) -> str | None:
    """What is wrong with the `returns` of a task that was not written in the file; None when nothing is."""
    if returns is None:
        return None
    if isinstance(returns, str):
        # Such a name is that of a file, which would be imported.
        return f"`returns` must be a JSON Schema here, not the name `{returns[:100]}`"
    nodes, waiting = 0, list[object]([returns])
    while waiting:
        nodes += 1
        match waiting.pop():
            case dict() as node:
                if found := sorted(_NOT_PLAIN & node.keys()):
                    return f"`returns` may not use `{found[0]}` here"
                waiting += node.values()
            case list() as items:
                waiting += items
        if nodes > _LARGEST:
            return f"`returns` is larger than {_LARGEST} values"
    return (schema_mistake(returns) or (None,))[0]
