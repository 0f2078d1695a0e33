"""Options that many commands share."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
As = Annotated[str, typer.Option("--as", metavar="USER", envvar="MUSTER_USER", help="Sign in as this person.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or a part that names only it.")]
Automation = Annotated[str, typer.Argument(help="The automation.")]


def pairs(entries: Sequence[str], option: str, *, number: Callable[[str], object] = float) -> dict[str, object]:
    """`key=value` entries as a mapping; a value that is JSON is read as JSON, any other is text.

    `number` makes a number with a decimal point of its text.
    """
    values: dict[str, object] = {}
    for entry in entries:
        key, equals, text = entry.partition("=")
        if not equals or not key:
            raise typer.BadParameter(f"{entry!r} is not KEY=VALUE.", param_hint=option)
        try:
            values[key] = json.loads(text, parse_float=number)
        except ValueError:
            values[key] = text
    return values


def ensure_declared(name: str, inputs: Mapping[str, object], declared: Sequence[str]) -> None:
    """Refuse inputs that the automation does not declare: Airflow takes any, and the run would fail as it opens.

    Raises:
        MusterError: there is one; it is named.
    """
    from muster.errors import MusterError
    from muster.language.inputs import suggestion, undeclared

    if others := undeclared(inputs, declared):
        named = ", ".join(f"`{other}`" for other in others)
        raise MusterError(f"{name} has no input {named}.", remedy=suggestion(others, declared))
