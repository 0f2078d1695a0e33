"""The command `muster forget`, which brings what it needs only when it is called."""

from __future__ import annotations

from typing import Annotated

import typer

Json = Annotated[bool, typer.Option("--json", help="Print JSON on standard output and nothing else.")]
As = Annotated[str, typer.Option("--as", metavar="USER", envvar="MUSTER_USER", help="Sign in as this person.")]


def forget(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name, as runs name it, or the id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Forget a person: nothing personal about them in the log can be read any more, and it still verifies."""
    from muster.cli.personal import forget_subject

    forget_subject(subject, yes=yes, user=user, as_json=as_json)
