"""The commands about the log: what happened, whether it still says so, and what would happen today."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from muster.cli.options import As, Json, RunId

LOG = "The log"

history = typer.Typer()


@history.command(rich_help_panel=LOG)
def forget(
    subject: Annotated[str, typer.Argument(metavar="SUBJECT", help="The person's name, as runs name it, or the id.")],
    yes: Annotated[bool, typer.Option("--yes", "-y", help="Do not ask.")] = False,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Forget a person: nothing personal about them in the log can be read any more, and it still verifies.

    Repeated, it removes what has come since.
    """
    from muster.cli.personal import forget_subject

    forget_subject(subject, yes=yes, user=user, as_json=as_json)


@history.command(rich_help_panel=LOG)
def replay(
    run: RunId,
    until: Annotated[
        str | None, typer.Option(metavar="VERSION|TIME", help="Stop after this event, or at this time.")
    ] = None,
    step: Annotated[str | None, typer.Option(help="Stop when this step had its last event, and show it whole.")] = None,
    as_json: Json = False,
) -> None:
    """Rebuild a run's state from the log; at its end, compare the projections with it (exit code 1: they differ)."""
    from muster.cli.log import replay_run

    replay_run(run, until=until, step=step, as_json=as_json)


@history.command(rich_help_panel=LOG)
def rebuild(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Default: all runs.")] = None, as_json: Json = False
) -> None:
    """Make the projections new from the log, while everything goes on.

    A run whose log was tampered with keeps the rows it has (exit code 1 when there are any).
    """
    from muster.cli.log import rebuild_projections

    rebuild_projections(run, as_json=as_json)


@history.command(rich_help_panel=LOG)
def verify(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="Default: the whole log.")] = None,
    checkpoint: Annotated[
        bool, typer.Option("--checkpoint", help="Afterwards, note where the log ends, to notice a tail cut off it.")
    ] = False,
    begin: Annotated[
        bool, typer.Option("--begin", help="With --checkpoint: begin a new file where the old one is lost or broken.")
    ] = False,
    file: Annotated[
        Path | None, typer.Option(help="Of the checkpoints. Default: checkpoints.jsonl in the state folder.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Find events that were altered, removed or reordered, also at the log's end (exit code 1 when there are any)."""
    from muster.cli.log import verify_log

    verify_log(run, checkpoint=checkpoint, begin=begin, file=file, as_json=as_json)


@history.command(rich_help_panel=LOG)
def audit(
    run: Annotated[str | None, typer.Argument(metavar="RUN", help="A run's id, or a part that names only it.")] = None,
    out: Annotated[Path, typer.Option(help="The folder to write to.")] = Path("audit"),
    check: Annotated[Path | None, typer.Option(metavar="FILE", help="Check an exported trail instead.")] = None,
    key: Annotated[Path | None, typer.Option(help="With --check: the public key. Default: this project's.")] = None,
    as_json: Json = False,
) -> None:
    """Export a run's complete trail: who did what, when and why, as signed JSON lines and as an HTML report."""
    from muster.cli.auditing import check_file, export

    if (run is None) == (check is None):
        raise typer.BadParameter("Give either RUN or --check FILE.")
    if check is not None:
        check_file(check, key, as_json=as_json)
    elif run is not None:
        export(run, out, as_json=as_json)


@history.command(rich_help_panel=LOG)
def debug(
    run: RunId,
    own: Annotated[
        bool, typer.Option("--own", help="With the version the run started with: only code may have changed.")
    ] = False,
    as_json: Json = False,
) -> None:
    """Make a run's decisions again with today's code and YAML, calling nothing outside (exit code 1: one differs).

    Made again are conditions, lists and branches, and under another YAML everything that decides what the steps that
    began would do: what they are given, whom they ask or tell in which words, what undoes them, which agents they use.
    The first that differs is shown with its place. Not made again is what skills, models and people answered, which
    comes from the log: changes inside a skill do not show, nor do the automation's own budget, deadlines and checks.
    """
    from muster.cli.debugging import debug_run

    debug_run(run, own=own, as_json=as_json)
