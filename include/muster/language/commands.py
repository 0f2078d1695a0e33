"""Checks of agents that are programs."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from muster.agents.spec import AgentSpec

if TYPE_CHECKING:
    from muster.isolation.spec import Command
    from muster.language.problems import Problem
    from muster.language.source import Source

_OWN = re.compile(r"AIRFLOW__.*|MUSTER_.*|DATABASE_URL|PGPASSWORD")
"""Environment variables that a program is never given: they are the keys to everything."""
_Place = tuple[str | int, ...]


def check_command(
    agent: AgentSpec, source: Source, place: _Place, *, root: Path, settings: Mapping[str, object]
) -> Iterator[Problem]:
    """What is wrong with an agent's program, and with what stands beside it."""
    command = agent.command
    if command is None:
        return
    for key in ("tools", "temperature"):
        if getattr(agent, key):
            message = f"an agent with a `command` asks no model, so it has no `{key}`"
            yield source.problem(message, (*place, key), key=True)
    yield from _isolation(command, source, (*place, "command"), settings)
    if len(command.program) == 1 and re.search(r"\s", command.program[0]):
        words = ", ".join(command.program[0].split())
        suggestion = f"Write `program: [{words}]`: no shell reads it."
        message = "the program has a space in its name"
        yield source.problem(message, (*place, "command", "program"), suggestion=suggestion)
    named = [("program", number, part) for number, part in enumerate(command.program)]
    named += [("reads", number, part) for number, part in enumerate(command.reads)]
    for key, number, part in named:
        if part.startswith("./") and (wrong := _site_file(part, root, first=(key, number) == ("program", 0))):
            yield source.problem(wrong[0], (*place, "command", key, number), suggestion=wrong[1])
    for number, name in enumerate(command.inherits):
        if _OWN.fullmatch(name):
            message = f"`{name}` is Muster's or Airflow's own, and no program is given it"
            yield source.problem(message, (*place, "command", "inherits", number))
    for name in sorted({*command.env} & {*command.inherits}):
        yield source.problem(f"`{name}` is under `inherits`, too", (*place, "command", "env", name), key=True)


def _site_file(part: str, root: Path, *, first: bool) -> tuple[str, str | None] | None:
    if ".." in Path(part).parts:
        return "a file of the site has no `..`", None
    if not part.startswith("./commands/"):
        return "what begins with `./` is a file of the site in `commands`", "Write `./commands/<file>`."
    if not (root / part[2:]).exists():
        return (
            f"there is no file `{part[2:]}` in `{root.name}`",
            "What begins with `./commands/` is a file of the site.",
        )
    # What is published keeps no rights to be executed.
    return ("a file of the site needs what executes it", f"Write `[python3, {part}]`.") if first else None


def _isolation(command: Command, source: Source, place: _Place, settings: Mapping[str, object]) -> Iterator[Problem]:
    usual = settings.get("commands")
    usual = usual if isinstance(usual, Mapping) else {}
    isolation = command.isolation or usual.get("isolation") or "folder"
    at = (*place, "isolation") if command.isolation else place
    if isolation == "worktree" and command.repository is None:
        suggestion = "Write `repository`, a folder on this machine."
        yield source.problem("a worktree is of a repository, and none is named", at, suggestion=suggestion)
    if isolation != "worktree" and command.repository is not None:
        suggestion = "Write `isolation: worktree`, or take it away."
        yield source.problem("only a worktree has a repository", (*place, "repository"), suggestion=suggestion)
    if isolation == "docker" and not (command.image or usual.get("image")):
        yield source.problem("a container needs an image", at, suggestion="Write `image`.")
