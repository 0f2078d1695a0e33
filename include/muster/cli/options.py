"""Options that many commands share."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
As = Annotated[str, typer.Option("--as", metavar="USER", envvar="MUSTER_USER", help="Sign in as this person.")]
RunId = Annotated[str, typer.Argument(metavar="RUN", help="A run's id, or a part that names only it.")]
Automation = Annotated[str, typer.Argument(help="The automation.")]
