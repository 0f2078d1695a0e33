"""The commands of `muster` and their options; what they do is imported when they are called."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from muster import __version__
from muster.cli.acting import WORK, acting
from muster.cli.history import history
from muster.cli.options import As, Automation, Json, RunId
from muster.cli.output import Commands, Exit
from muster.cli.recovering import breakers, dead_letters, effects
from muster.cli.users import users

app = typer.Typer(
    name="muster",
    cls=Commands,
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Run a company's recurring work with teams of AI agents, on Apache Airflow.",
    epilog="Exit codes: 0 done, 1 what was asked for failed, 2 wrong command line, 3 Airflow or the database "
    "does not answer, 4 the port is in use, 5 the automation is paused, 130 interrupted.",
)

PLACE, LOOK = "On this machine", "Automations, agents and skills"

RunStatus = Literal["open", "succeeded", "failed", "compensated", "stuck"]
NoticeStatus = Literal["pending", "sent", "failed", "kept"]


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"muster {__version__}")
        raise typer.Exit


@app.callback()
def common(
    debug: Annotated[bool, typer.Option("--debug", help="Show tracebacks.")] = False,
    version: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Print the version.")
    ] = False,
) -> None:
    """Options of every command."""


@app.command(rich_help_panel=PLACE)
def up(
    port: Annotated[
        int | None,
        typer.Option(envvar="MUSTER_PORT", min=1, max=65535, help="Of the UI and REST API; 8080 unless said."),
    ] = None,
    host: Annotated[str, typer.Option(envvar="MUSTER_HOST", help="Address to listen on.")] = "127.0.0.1",
    detach: Annotated[bool, typer.Option("--detach", "-d", help="Return once everything is healthy.")] = False,
    inbox: Annotated[
        bool, typer.Option("--inbox/--no-inbox", help="Process the bundled invoices at first start.")
    ] = True,
    as_json: Json = False,
) -> None:
    """Start PostgreSQL and Airflow, process the bundled invoices once, and keep running until Ctrl-C."""
    from muster.cli.up import start

    start(port=port, host=host, detach=detach, inbox=inbox, as_json=as_json)


@app.command(rich_help_panel=PLACE)
def down(as_json: Json = False) -> None:
    """Stop what `muster up` started."""
    from muster.cli.up import end

    end(as_json=as_json)


@app.command(rich_help_panel=PLACE)
def status(as_json: Json = False) -> None:
    """Show what runs, where, and whether it is well (exit code 1 when it is not)."""
    from muster.cli.up import tell

    tell(as_json=as_json)


@app.command(rich_help_panel=PLACE)
def doctor(as_json: Json = False) -> None:
    """Check this machine and the project, with a remedy for each thing that is wrong."""
    from muster.cli.doctor import examine

    examine(as_json=as_json)


@app.command(rich_help_panel=PLACE)
def migrate(
    dsn: Annotated[str | None, typer.Option(help="Of Muster's database: a libpq URI or keyword string.")] = None,
    as_json: Json = False,
) -> None:
    """Bring Muster's tables up to date, in an Airflow of your own (`muster up` does it by itself)."""
    from muster.cli.migrate import bring_up_to_date

    bring_up_to_date(dsn, as_json=as_json)


@app.command(rich_help_panel=LOOK)
def new(
    name: Annotated[str, typer.Argument(help="Lower case letters, digits and underscores.")],
    category: Annotated[str, typer.Option(help="The folder below include/automations.")] = "business_process",
    as_json: Json = False,
) -> None:
    """Write a new automation to begin with."""
    from muster.cli.automations import create

    create(name, category=category, as_json=as_json)


@app.command(rich_help_panel=LOOK)
def lint(
    path: Annotated[
        Path | None,
        typer.Argument(help="A project, or a folder or file below include/automations. Default: the project."),
    ] = None,
    as_json: Json = False,
) -> None:
    """Check every automation and agent; each problem with its place (exit code 1 when there are any)."""
    from muster.cli.automations import check

    check(path, as_json=as_json)


@app.command("test", rich_help_panel=LOOK)
def rehearse_(
    automation: Annotated[str | None, typer.Argument(help="Only this automation.")] = None,
    quick: Annotated[bool, typer.Option("--quick", help="Leave out the crashes, which take longest.")] = False,
    workers: Annotated[
        int | None, typer.Option(min=1, help="How many scenarios are played at once; one on each core unless said.")
    ] = None,
    as_json: Json = False,
) -> None:
    """Rehearse automations: whole, broken at every step, repeated, undone, crashed between any two events."""
    from muster.cli.rehearsing import rehearse

    rehearse(automation, quick=quick, workers=workers, as_json=as_json)


@app.command(rich_help_panel=LOOK)
def schema() -> None:
    """Print the JSON Schema of automations, for editors."""
    from muster.cli.automations import print_schema

    print_schema()


@app.command("list", rich_help_panel=LOOK)
def list_(as_json: Json = False) -> None:
    """List the automations with the version of each."""
    from muster.cli.automations import list_automations

    list_automations(as_json=as_json)


@app.command(rich_help_panel=LOOK)
def pause(automation: Automation, user: As = "admin", as_json: Json = False) -> None:
    """Begin no more of an automation: its runs wait where they are, new ones before their beginning.

    A chain of steps in the `async` lane goes on for up to 10 s, and with the step that is at work then.
    """
    from muster.cli.pausing import pause

    pause(automation, paused=True, user=user, as_json=as_json)


@app.command(rich_help_panel=LOOK)
def unpause(automation: Automation, user: As = "admin", as_json: Json = False) -> None:
    """Have a paused automation go on, with all runs that have waited."""
    from muster.cli.pausing import pause

    pause(automation, paused=False, user=user, as_json=as_json)


@app.command(rich_help_panel=LOOK)
def agents(
    load: Annotated[bool, typer.Option("--load", help="What each is at, and what it has done lately.")] = False,
    since: Annotated[str, typer.Option(metavar="DURATION", help="With --load: how far to look back.")] = "7d",
    as_json: Json = False,
) -> None:
    """List the agents: what each is for, which models it asks, what it may use."""
    if load:
        from muster.cli.looking_back import show_load

        show_load(since, as_json=as_json)
        return
    from muster.cli.agents import list_agents

    list_agents(as_json=as_json)


@app.command(rich_help_panel=LOOK)
def skill(
    name: Annotated[str | None, typer.Argument(help="For example finance.read_invoice.")] = None,
    with_: Annotated[
        list[str] | None, typer.Option("--with", metavar="KEY=VALUE", help="An argument; repeatable.")
    ] = None,
    key: Annotated[
        str | None, typer.Option(metavar="KEY", help="The key of an earlier call: what that did is not done again.")
    ] = None,
    listing: Annotated[bool, typer.Option("--list", help="List all skills.")] = False,
    as_json: Json = False,
) -> None:
    """Try one skill by hand, for real, or list them."""
    from muster.cli.skills import list_skills, try_skill

    if listing or name is None:
        list_skills(as_json=as_json)
    else:
        try_skill(name, with_ or [], key=key, as_json=as_json)


@app.command(rich_help_panel=WORK)
def run(
    name: Automation,
    inputs: Annotated[
        list[str] | None, typer.Option("--input", "-i", metavar="KEY=VALUE", help="JSON or text; repeatable.")
    ] = None,
    run_id: Annotated[str | None, typer.Option(help="Your own id: the same id never starts a second run.")] = None,
    wait: Annotated[bool, typer.Option("--wait", help="Wait for the end; exit code 1 when the run fails.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait at most.")] = 3600,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help="Start nothing: show plans, who does what, conflicts, time and cost to expect."),
    ] = False,
    agents: Annotated[
        int | None, typer.Option(min=1, max=100, help="How many agents its teams have; for a run, its input `agents`.")
    ] = None,
    user: As = "admin",
    as_json: Json = False,
) -> None:
    """Start a run."""
    if dry_run:
        from muster.cli.dry_run import show_dry_run

        show_dry_run(name, inputs or [], agents=agents, as_json=as_json)
        return
    from muster.cli.starting import start_run

    inputs = [*(inputs or []), *([] if agents is None else [f"agents={agents}"])]
    start_run(name, inputs, run_id=run_id, wait=wait, timeout=timeout, user=user, as_json=as_json)


@app.command(rich_help_panel=WORK)
def runs(
    automation: Annotated[str | None, typer.Option(help="Only of this automation.")] = None,
    state: Annotated[RunStatus | None, typer.Option("--status", help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List the runs, newest first."""
    from muster.cli.runs import list_runs

    list_runs(automation=automation, status=state, limit=limit, as_json=as_json)


@app.command(rich_help_panel=WORK)
def watch(
    once: Annotated[bool, typer.Option("--once", help="Show it once, and end.")] = False, as_json: Json = False
) -> None:
    """Show what goes on until Ctrl-C: open runs, their stage, agents at work, whom they wait for, the time left."""
    from muster.cli.watching import watch

    watch(once=once, as_json=as_json)


@app.command("history", rich_help_panel=WORK)
def history_(
    since: Annotated[str, typer.Option(metavar="DURATION", help="How far to look back: `7d`, `12h`.")] = "7d",
    as_json: Json = False,
) -> None:
    """How the runs of a period went: success, time, people, speed-up of teams, and what to look at first."""
    from muster.cli.looking_back import show_history

    show_history(since, as_json=as_json)


@app.command(rich_help_panel=WORK)
def show(run: RunId, as_json: Json = False) -> None:
    """Show everything that happened in a run, in order, what its steps gave back and what its agents used."""
    from muster.cli.runs import show_run

    show_run(run, as_json=as_json)


@app.command(rich_help_panel=WORK)
def output(
    run: RunId, step: Annotated[str | None, typer.Argument(help="Only of this step.")] = None, as_json: Json = False
) -> None:
    """Print what the steps of a run gave back, as JSON; a text of one step as it is."""
    from muster.cli.outputs import print_output

    print_output(run, step, as_json=as_json)


@app.command(rich_help_panel=WORK)
def outbox(
    run: Annotated[str | None, typer.Option(help="Only of this run.")] = None,
    status: Annotated[NoticeStatus | None, typer.Option(help="Only in this state.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=10_000, help="How many at most.")] = 20,
    as_json: Json = False,
) -> None:
    """List what people were told, and what is only kept here because no channel is set."""
    from muster.cli.outbox import list_notices

    list_notices(run=run, status=status, limit=limit, as_json=as_json)


app.add_typer(acting)
app.add_typer(history)
app.add_typer(users, name="users", rich_help_panel=PLACE)
app.add_typer(breakers, name="breakers", rich_help_panel=WORK)
app.add_typer(effects, name="effects", rich_help_panel=WORK)
app.add_typer(dead_letters, name="dead-letters", rich_help_panel=WORK)


__all__ = ["Exit", "app"]
