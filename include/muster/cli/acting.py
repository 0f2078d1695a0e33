"""The commands by which people act on runs: answer, cancel, check, reconcile, resume and restart."""

from __future__ import annotations

from typing import Annotated

import typer

from muster.cli.options import As, Json, RunId

WORK = "Runs and approvals"

acting = typer.Typer()


@acting.command(rich_help_panel=WORK)
def approve(
    run: RunId,
    step: Annotated[str | None, typer.Option(help="Only this approval.")] = None,
    item: Annotated[int | None, typer.Option(min=0, help="Only this position of a fan-out.")] = None,
    note: Annotated[str | None, typer.Option(help="Why; kept with the answer.")] = None,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Approve what waits in a run."""
    from muster.cli.approvals import answer

    answer(run, approved=True, step=step, item=item, note=note, user=user, as_json=as_json)


@acting.command(rich_help_panel=WORK)
def reject(
    run: RunId,
    step: Annotated[str | None, typer.Option(help="Only this approval.")] = None,
    item: Annotated[int | None, typer.Option(min=0, help="Only this position of a fan-out.")] = None,
    note: Annotated[str | None, typer.Option(help="Why; kept with the answer.")] = None,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Reject what waits in a run."""
    from muster.cli.approvals import answer

    answer(run, approved=False, step=step, item=item, note=note, user=user, as_json=as_json)


@acting.command(rich_help_panel=WORK)
def cancel(
    run: RunId,
    reason: Annotated[str | None, typer.Option(help="Why; kept in the log.")] = None,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Cancel a run: stop what is under way, begin nothing more, undo what was done."""
    from muster.cli.cancelling import cancel_run

    cancel_run(run, reason=reason, user=user, as_json=as_json)


@acting.command(rich_help_panel=WORK)
def check(as_json: Json = False) -> None:
    """Ask what automations declare under `checks`; exit code 1 when something does not hold."""
    from muster.cli.checking import check

    check(as_json=as_json)


@acting.command(rich_help_panel=WORK)
def reconcile(
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only look.")] = False,
    quiet: Annotated[float, typer.Option(metavar="MINUTES", help="Leave alone what happened since.")] = 10,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Find where the log, Airflow and the outside disagree; restart runs that died, mend what can be, list the rest."""
    from muster.cli.reconciling import run

    run(dry_run=dry_run, quiet_minutes=quiet, user=user, as_json=as_json)


@acting.command(rich_help_panel=WORK)
def resume(
    run: RunId,
    note: Annotated[str | None, typer.Option(help="What was done about it; kept in the log.")] = None,
    by_hand: Annotated[
        bool,
        typer.Option(
            "--by-hand", help="A person has done the compensation that failed, or undone what nothing could undo."
        ),
    ] = False,
    all_by_hand: Annotated[
        bool,
        typer.Option(
            "--all-by-hand",
            help="A person has undone all that is left of a run that Airflow does not know any more: it ends.",
        ),
    ] = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Go on undoing a stuck run, once a person has acted."""
    from muster.cli.resuming import resume_run

    resume_run(run, note=note, by_hand=by_hand, all_by_hand=all_by_hand, user=user, as_json=as_json)


@acting.command(rich_help_panel=WORK)
def restart(
    run: RunId,
    step: Annotated[str, typer.Option("--from", metavar="STEP", help="This step and everything after it.")],
    current: Annotated[
        bool, typer.Option("--current", help="Go on with today's YAML, and show first what differs in it.")
    ] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Only show what would be done again.")] = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Do a run again from a step on; approvals before it stay valid, those after it are asked again."""
    from muster.cli.restarting import restart_run

    restart_run(run, step=step, current=current, dry_run=dry_run, user=user, as_json=as_json)
