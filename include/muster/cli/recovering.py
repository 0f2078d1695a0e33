"""`muster breakers`, `muster effects` and `muster dead-letters`: the commands below them and their options."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import TYPE_CHECKING, Annotated

import typer

from muster.cli.options import As, Json

if TYPE_CHECKING:
    from muster.recovery.dead_letters import Filter

breakers = typer.Typer(invoke_without_command=True)
effects = typer.Typer(invoke_without_command=True)
dead_letters = typer.Typer(
    no_args_is_help=True, help="What could not be processed: list it, show it whole, redrive or discard it."
)

Ids = Annotated[list[str] | None, typer.Argument(metavar="[ID]...", help="As the list shows them.")]
Run = Annotated[str | None, typer.Option(help="Only of this run.")]
Automation = Annotated[str | None, typer.Option(help="Only of this automation.")]
Step = Annotated[str | None, typer.Option(help="Only of this step.")]
Error = Annotated[str | None, typer.Option(metavar="CLASS", help="Only with this class of error.")]
Older = Annotated[str | None, typer.Option(metavar="DURATION", help="Only older than this, for example 2h or 3d.")]
Aside = Annotated[bool, typer.Option("--set-aside", help="With items that were set aside with findings.")]
Limit = Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")]
Dry = Annotated[bool, typer.Option("--dry-run", help="Only show what would be done.")]


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
    run: Run = None,
    in_doubt: Annotated[bool, typer.Option("--in-doubt", help="Only those nobody knows the outcome of.")] = False,
    limit: Limit = 20,
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

    prune_old(_seconds(older_than), dry_run=dry_run, user=user, as_json=as_json)


@dead_letters.command("list")
def list_(
    run: Run = None,
    automation: Automation = None,
    step: Step = None,
    error: Error = None,
    older_than: Older = None,
    set_aside: Aside = False,
    discarded: Annotated[bool, typer.Option("--discarded", help="With those that were discarded.")] = False,
    limit: Limit = 20,
    as_json: Json = False,
) -> None:
    """List what could not be processed, newest first."""
    from muster.cli.dead_letters import list_letters

    wanted = _filter(run, automation, step, error, older_than, set_aside)
    list_letters(wanted, limit=limit, discarded=discarded, as_json=as_json)


@dead_letters.command()
def show(id: Annotated[str, typer.Argument(help="As the list shows it.")], as_json: Json = False) -> None:
    """Show one dead letter whole: its cause, what it was to work on, and what was tried."""
    from muster.cli.dead_letters import show_letter

    show_letter(id, as_json=as_json)


@dead_letters.command()
def redrive(
    ids: Ids = None,
    run: Run = None,
    automation: Automation = None,
    step: Step = None,
    error: Error = None,
    older_than: Older = None,
    set_aside: Aside = False,
    limit: Limit = 1_000,
    dry_run: Dry = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Do dead letters again, and what comes after them; other items of the same list keep their outcome."""
    from muster.cli.redriving import redrive as carry_out

    wanted = _filter(run, automation, step, error, older_than, set_aside)
    carry_out(ids or [], wanted, limit=limit, dry_run=dry_run, user=user, as_json=as_json)


@dead_letters.command()
def discard(
    reason: Annotated[str, typer.Option(help="Why; kept in the log.")],
    ids: Ids = None,
    run: Run = None,
    automation: Automation = None,
    step: Step = None,
    error: Error = None,
    older_than: Older = None,
    set_aside: Aside = False,
    limit: Limit = 1_000,
    dry_run: Dry = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Decide that dead letters are not to be done any more: they leave the list, and the log keeps them."""
    from muster.cli.redriving import discard as carry_out

    wanted = _filter(run, automation, step, error, older_than, set_aside)
    carry_out(ids or [], wanted, limit=limit, reason=reason, dry_run=dry_run, user=user, as_json=as_json)


def _filter(
    run: str | None,
    automation: str | None,
    step: str | None,
    error: str | None,
    older_than: str | None,
    set_aside: bool,
) -> Filter:
    from muster.recovery.dead_letters import Filter

    age = timedelta(seconds=_seconds(older_than)) if older_than else None
    return Filter(run=run, automation=automation, step=step, error_class=error, older_than=age, set_aside=set_aside)


def _seconds(older_than: str) -> float:
    from muster.language.durations import parse_duration

    try:
        return parse_duration(older_than)
    except ValueError as error:
        raise typer.BadParameter(f"--older-than: {error}") from error
