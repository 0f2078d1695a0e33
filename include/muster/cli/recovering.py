"""`muster breakers` and `muster effects`: what is left alone for now, and what was done outside."""

from __future__ import annotations

import json
from typing import Annotated

import typer

from muster.cli.options import As, Json

breakers = typer.Typer(invoke_without_command=True)
effects = typer.Typer(invoke_without_command=True)


@breakers.callback()
def list_breakers(context: typer.Context, as_json: Json = False) -> None:
    """List the circuit breakers that have counted failures; those that are open first."""
    if context.invoked_subcommand is None:
        from muster.cli.breakers import show

        show(as_json=as_json)


@breakers.command("reset")
def reset_breaker(
    name: Annotated[str, typer.Argument(help="For example tier:muster_default.")], as_json: Json = False
) -> None:
    """Close a circuit breaker at once: what it guards is called again."""
    from muster.cli.breakers import reset

    reset(name, as_json=as_json)


@effects.callback()
def list_effects(
    context: typer.Context,
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only those nobody knows the outcome of.")] = False,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List what runs did outside: notices sent, runs started, and what skills have done by the ledger of effects."""
    if context.invoked_subcommand is None:
        from muster.cli.effects import show

        show(run=run, in_doubt=in_doubt, limit=limit, as_json=as_json)


@effects.command("settle")
def settle_effect(
    key: Annotated[str, typer.Argument(help="The effect's key, as `muster effects` shows it.")],
    happened: Annotated[
        bool, typer.Option("--happened/--never-happened", help="What you found out.", show_default=False)
    ],
    result: Annotated[
        str | None, typer.Option(metavar="JSON", help="With --happened: what performing it would have given back.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Say what became of an effect in doubt, so that its step can go on: done, or to be done."""
    from muster.cli.effects import settle

    try:
        value = None if result is None else json.loads(result)
    except ValueError as error:
        raise typer.BadParameter(f"--result is not JSON: {error}") from error
    settle(key, happened=happened, result=value, as_json=as_json)


@effects.command("prune")
def prune_effects(
    older_than: Annotated[str, typer.Option(metavar="DURATION", help="Of runs that ended so long ago: 90d.")],
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only count.")] = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Remove effects and attempts of runs that ended long ago and Airflow has forgotten: nobody can do them again."""
    from muster.cli.effects import prune_old
    from muster.language.durations import parse_duration

    try:
        age = parse_duration(older_than)
    except ValueError as error:
        raise typer.BadParameter(f"--older-than: {error}") from error
    prune_old(age, dry_run=dry_run, user=user, as_json=as_json)
