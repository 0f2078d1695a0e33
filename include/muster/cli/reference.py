"""The reference of all commands as Markdown: `python -m muster.cli.reference > docs/cli.md`."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from typing import Any

import typer

from muster.cli.app import app
from muster.cli.output import Exit

HEAD = """\
# The `muster` command

Every command takes `--help`. On a terminal it prints tables and colours, in a pipe plain text, with `--json` one JSON
value on standard output and nothing else; messages go to standard error. `muster --debug COMMAND` shows tracebacks,
`muster --install-completion` sets up completion for your shell.
"""
CODES = {
    Exit.OK: "done",
    Exit.FAILED: "what was asked for failed: a run, a check, an automation with problems",
    Exit.USAGE: "the command line was wrong",
    Exit.UNREACHABLE: "Airflow or the database does not answer",
    Exit.PORT: "the port is in use by another program",
    Exit.PAUSED: "what was waited for does not go on: its automation is paused",
    Exit.INTERRUPTED: "interrupted with Ctrl-C",
}


def render() -> str:
    """The whole page."""
    group: Any = typer.main.get_command(app)
    codes = "\n".join(f"| {int(code)} | {meaning} |" for code, meaning in CODES.items())
    parts = [HEAD, f"## Exit codes\n\n| code | meaning |\n| --- | --- |\n{codes}\n"]
    panels: dict[str, list[Any]] = {}
    for command in group.commands.values():
        panels.setdefault(command.rich_help_panel, []).append(command)
    for panel, commands in panels.items():
        parts.append(f"## {panel}\n")
        parts.extend(_command(command, command.name) for command in commands)
    return "\n".join(parts)


def _command(command: object, name: str) -> str:
    """A command, and those below it."""
    below = [_command(each, f"{name} {each.name}") for each in getattr(command, "commands", {}).values()]
    return "\n".join([_own(command, name), *below])


def _own(command: Any, name: str) -> str:
    arguments = [it for it in command.params if it.param_type_name == "argument"]
    names = " ".join(_shown(it) for it in arguments)
    rows = "\n".join(_rows(command))
    head = f"### `{f'muster {name} {names}'.strip()}`\n\n{command.help}\n"
    return f"{head}\n| | |\n| --- | --- |\n{rows}\n" if rows else head


def _rows(command: Any) -> Iterator[str]:
    for it in command.params:
        if it.name == "help":
            continue
        names = _shown(it) if it.param_type_name == "argument" else ", ".join([*it.opts, *it.secondary_opts])
        yield f"| `{names}` | {' '.join(filter(None, [it.help, _default(it), _variable(it)]))} |"


def _shown(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    return name if argument.required else f"[{name}]"


def _default(it: Any) -> str:
    plain = it.default is None or isinstance(it.default, bool) or it.required
    return "" if plain else f"Default: `{it.default}`."


def _variable(it: Any) -> str:
    return f"Variable: `{it.envvar}`." if getattr(it, "envvar", None) else ""


if __name__ == "__main__":
    sys.stdout.write(render())
