"""`muster users`: who can sign in to the Airflow that `muster up` starts."""

from __future__ import annotations

from typing import Annotated, Literal

import typer

from muster.cli.options import Json

users = typer.Typer(invoke_without_command=True)

Role = Literal["viewer", "user", "op", "admin"]


@users.callback()
def list_users(context: typer.Context, as_json: Json = False) -> None:
    """List who can sign in; `add` and `remove` take effect at once."""
    if context.invoked_subcommand is None:
        from muster.cli.signing_in import show

        show(as_json=as_json)


@users.command("add")
def add_user(
    name: Annotated[str, typer.Argument(help="The name, as automations have it under `assignees`.")],
    role: Annotated[Role, typer.Option(help="What they may do; who answers questions is a `user`.")] = "user",
    as_json: Json = False,
) -> None:
    """Let somebody sign in, with a password that is printed."""
    from muster.cli.signing_in import add

    add(name, role, as_json=as_json)


@users.command("remove")
def remove_user(
    name: Annotated[str, typer.Argument(help="Somebody whom `add` has added.")], as_json: Json = False
) -> None:
    """Let somebody sign in no more; whoever is signed in stays so until the next start."""
    from muster.cli.signing_in import remove

    remove(name, as_json=as_json)
