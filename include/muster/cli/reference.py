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
    below = [_command(inner, f"{name} {inner.name}") for inner in getattr(command, "commands", {}).values()]
    return "\n".join([_own(command, name), *below])


def _own(command: Any, name: str) -> str:
    arguments = [parameter for parameter in command.params if parameter.param_type_name == "argument"]
    names = " ".join(_shown(parameter) for parameter in arguments)
    rows = "\n".join(_rows(command))
    head = f"### `{f'muster {name} {names}'.strip()}`\n\n{command.help}\n"
    return f"{head}\n| | |\n| --- | --- |\n{rows}\n" if rows else head


def _rows(command: Any) -> Iterator[str]:
    for parameter in command.params:
        if parameter.name == "help":
            continue
        names = (
            _shown(parameter)
            if parameter.param_type_name == "argument"
            else ", ".join([*parameter.opts, *parameter.secondary_opts])
        )
        yield f"| `{names}` | {' '.join(filter(None, [parameter.help, _default(parameter), _variable(parameter)]))} |"


def _shown(argument: Any) -> str:
    name = (argument.metavar or argument.name).upper()
    return name if argument.required else f"[{name}]"


def _default(parameter: Any) -> str:
    plain = parameter.default is None or isinstance(parameter.default, bool) or parameter.required
    return "" if plain else f"Default: `{parameter.default}`."


def _variable(parameter: Any) -> str:
    return f"Variable: `{parameter.envvar}`." if getattr(parameter, "envvar", None) else ""


if __name__ == "__main__":
    sys.stdout.write(render())
