"""`muster new`, `lint`, `schema` and `list`: automations as files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING

import typer
from rich.markup import escape

from muster.cli.output import Exit, console, counted, emit, open_table
from muster.cli.pausing import paused_ones
from muster.errors import MusterError
from muster.local.project import find_project

if TYPE_CHECKING:
    from muster.language import Catalogue
    from muster.language.problems import Problem

TEMPLATE = """\
automation: {name}
title: {title}
category: {category}
description: Says hello to everybody on a list.

triggers:
  - schedule: "0 8 * * 1-5"
    timezone: Europe/Berlin

inputs:
  names:
    type: array
    items: {{ type: string }}
    default: [Ada, Grace]

steps:
  - id: greet
    notify:
      - slack: "#general"
        text: "Hello {{{{ inputs.names | join(', ') }}}}!"
"""


def create(name: str, *, category: str, as_json: bool) -> None:
    """Write a valid automation to begin with. Raises MusterError when there is one of that name."""
    for word, what in ((name, "name"), (category, "category")):
        if not re.fullmatch(r"[a-z][a-z0-9_]{0,99}", word):
            raise typer.BadParameter(f"{word!r} is not a {what}: lower case letters, digits and `_`, a letter first.")
    include = find_project().include
    path = include / "automations" / category / f"{name}.yaml"
    taken = _catalogue(include).sources.get(name) or (path if path.exists() else None)
    if taken:
        raise MusterError(f"There is an automation {name!r} already: {taken}.", remedy="Choose another name.")
    title = name.replace("_", " ").capitalize()
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(TEMPLATE.format(name=name, title=title, category=category))
    except OSError as error:
        raise MusterError(
            f"{path} cannot be written: {error.strerror}.",
            remedy="Write it where the project's files are edited; in a container they are part of the image.",
        ) from error
    if as_json:
        emit({"automation": name, "file": path})
    else:
        console().print(
            f"Wrote {_short(path)}. Check it with `muster lint`; Airflow shows it within 15 seconds.", markup=False
        )


def check(path: Path | None, *, as_json: bool) -> None:
    """Print every problem with its place; exit code 1 when there is one."""
    include, below = _place(path)
    catalogue = _catalogue(include)
    valid = sorted(name for name, source in catalogue.sources.items() if source.is_relative_to(below))
    problems = _problems(catalogue, below)
    if path is not None and not valid and not problems:
        raise typer.BadParameter(f"{path} holds no automation.")
    if as_json:
        emit({"valid": valid, "problems": problems})
    else:
        out = console()
        for problem in problems:
            where, _, rest = str(problem).partition(": ")
            out.print(f"[bold]{escape(where)}[/]: {escape(rest)}\n")
        out.print(_verdict(len(valid), len(problems)))
    if problems:
        raise typer.Exit(Exit.FAILED)


def _place(path: Path | None) -> tuple[Path, Path]:
    """The folder `include` that a path lies in or leads to, and the part of it to look at."""
    if path is None:
        include = find_project().include
        return include, include
    if not path.exists():
        raise typer.BadParameter(f"{path} does not exist.")
    named = path.resolve()
    for include in (named, named / "include"):
        if (include / "automations").is_dir():
            return include, include
    for folder in (named, *named.parents):
        if folder.name == "automations":
            return folder.parent, named
    raise typer.BadParameter(
        f"{path} holds no automations. Name a project, its folder `include`, or a folder or file below "
        "`include/automations`."
    )


def _problems(catalogue: Catalogue, below: Path) -> list[Problem]:
    """What is wrong with the automations below a path, and with what all automations share."""
    own = {problem for path, problems in catalogue.broken.items() if path.is_relative_to(below) for problem in problems}
    others = {problem for problems in catalogue.broken.values() for problem in problems} - own
    return [problem for problem in catalogue.problems if problem not in others]


def print_schema() -> None:
    """Print the JSON Schema of an automation's file, as editors get it."""
    from muster.language.schema import automation_schema

    emit(automation_schema())


def list_automations(*, as_json: bool) -> None:
    """List the automations with the version of each."""
    include = find_project().include
    catalogue = _catalogue(include)
    paused = paused_ones()
    if as_json:
        emit(
            {
                "automations": [
                    {
                        "name": name,
                        "version": definition.hash,
                        "title": definition.title,
                        "category": definition.category,
                        "steps": len(definition.steps),
                        "triggers": [trigger.said for trigger in definition.triggers],
                        "file": catalogue.sources[name],
                        "paused": None if paused is None else name in paused,
                    }
                    for name, definition in catalogue.definitions.items()
                ],
                "invalid": sorted(catalogue.broken),
                "problems": catalogue.problems,
            }
        )
        return
    out = console()
    table = open_table("automation", "version", "category", "steps", "starts", "title")
    for name, definition in catalogue.definitions.items():
        starts = ", ".join(trigger.said for trigger in definition.triggers) or "by hand"
        if name in (paused or ()):
            starts = f"[yellow]paused[/] ({starts})"
        table.add_row(
            name,
            definition.hash[:12],
            definition.category,
            str(len(definition.steps)),
            starts,
            escape(definition.title),
        )
    for path in catalogue.broken:
        table.add_row(f"[red]{escape(path.stem)}[/]", "[red]invalid[/]", "", "", "", "[red]as said below[/]")
    if table.row_count:
        out.print(table)
        for problem in catalogue.problems:
            out.print(f"\n[red]{escape(str(problem))}[/]")
    else:
        out.print("There are no automations yet. Write one with `muster new NAME`.")


def _catalogue(include: Path) -> Catalogue:
    from muster.language import load_folder

    return load_folder(include)


def _verdict(valid: int, problems: int) -> str:
    said = counted(valid, "valid automation")
    return f"[red]{counted(problems, 'problem')}[/], {said}" if problems else f"[green]{said}[/]"


def _short(path: Path) -> str:
    return str(path.relative_to(Path.cwd())) if path.is_relative_to(Path.cwd()) else str(path)
