"""At the first start: the bundled invoices through the invoice automation, shown step by step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.live import Live
from rich.text import Text

from muster.cli.approvals import pending
from muster.cli.connections import in_airflow
from muster.cli.output import muster_command
from muster.cli.run_chart import result, run_chart
from muster.cli.skills import call_skill, new_key
from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.events.model import EventType
from muster.events.payloads.work import StepSucceeded
from muster.events.queries import Queries, answered
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.local.client import AirflowClient
from muster.local.stack import Stack
from muster.notifications.outbox import Outbox

AUTOMATION = "invoice_processing"
RUN_ID = "bundled-inbox"
"""Always the same, so that a second start finds the run of the first one and repeats nothing."""
NAME = f"{AUTOMATION}/{RUN_ID}"
DAG_PATIENCE = 120.0
"""Seconds to wait for Airflow to list the automation."""
SILENCE = 180.0
"""Seconds without an answer of Airflow or the database until following a run is given up."""


def bundled_invoices(include: Path) -> list[str]:
    """The files of the bundled inbox, as URIs."""
    folder = include / "inbox" / "invoices"
    return [path.as_uri() for path in sorted(folder.glob("*")) if path.is_file() and not path.name.startswith(".")]


def process_bundled_inbox(stack: Stack, out: Console) -> None:
    """Start the run unless there was one before, follow it to its end, and print what came of it."""
    invoices = bundled_invoices(stack.project.include)
    if not invoices:
        return
    database = Database(stack.dsn, max_size=2)
    try:
        with stack.client() as client:
            run = client.run(AUTOMATION, RUN_ID)
            if run is not None and run["state"] in ENDED_IN_AIRFLOW:
                out.print(Text(f"The bundled invoices were processed before: {_show(NAME)}", style="dim"))
                return
            if run is None:
                if not _listed(client, out):
                    return
                master_data = stack.project.include / "inbox" / "master-data.yaml"
                call_skill("finance.load_master_data", {"file": str(master_data)}, stack.project, database, new_key())
                client.trigger(AUTOMATION, {"invoices": invoices}, run_id=RUN_ID)
            queries = Queries(database)
            follow(client, queries, AUTOMATION, RUN_ID, out)
            _say_where_it_went(queries, Outbox(database), out)
    finally:
        database.close()


def follow(
    client: AirflowClient, queries: Queries, dag_id: str, run_id: str, out: Console, *, timeout: float = float("inf")
) -> bool:
    """Show a run step by step until it ends, then its result; True when it succeeded.

    Raises:
        Paused: its automation is paused.
        TransientError: it has not ended after `timeout` seconds.
    """
    deadline = heard = time.monotonic()
    deadline += timeout
    name = f"{dag_id}/{run_id}"
    seen: dict[str, str] = {}
    announced: set[str] = set()
    run = None
    out.print(Text.assemble("Run ", (name, "bold")))
    with Live(console=out, refresh_per_second=8, transient=True, auto_refresh=out.is_terminal) as live:
        while run is None or run["state"] not in ENDED_IN_AIRFLOW:
            try:
                run = client.run(dag_id, run_id)
                if run is None or run["state"] not in ENDED_IN_AIRFLOW:
                    client.ensure_goes_on(dag_id, run_id)
                steps = queries.steps(name)
                if out.is_terminal:
                    live.update(run_chart(steps, queries.timeline(name), live=True))
                else:
                    _print_changes(answered(steps, queries.timeline(name)), seen, out)
                _announce_approvals(client, queries, name, announced, out)
                heard = time.monotonic()
            except TransientError:
                # A busy Airflow, or one that is being started again, answers later; the run goes on meanwhile.
                if time.monotonic() - heard > SILENCE:
                    raise
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{name} has not ended after {timeout:.0f} s.", remedy=f"It goes on: {_show(name)}."
                )
            time.sleep(0.5)
    steps = queries.steps(name)
    if not out.is_terminal:
        _print_changes(answered(steps, queries.timeline(name)), seen, out)
    out.print(result(steps, queries.timeline(name)))
    if run["state"] == "failed":
        out.print(Text(f"The run failed: {_why(queries, name).rstrip('.')}. See {_show(name)}.", style="red"))
    return bool(run["state"] == "success")


def _why(queries: Queries, name: str) -> str:
    try:
        return queries.run(name).reason or "Airflow tells why in its task logs"
    except MusterError:
        return "it never opened; Airflow tells why in its task logs"


def _listed(client: AirflowClient, out: Console) -> bool:
    deadline = time.monotonic() + DAG_PATIENCE
    with out.status(f"Waiting for Airflow to list {AUTOMATION}"):
        while client.dag(AUTOMATION) is None:
            if time.monotonic() > deadline:
                _explain_missing(client, out)
                return False
            time.sleep(0.5)
    return True


def _explain_missing(client: AirflowClient, out: Console) -> None:
    out.print(f"Airflow does not list {AUTOMATION}, so the bundled invoices wait for the next start.", style="yellow")
    for error in client.import_errors():
        out.print(f"{error['filename']}: {error['stack_trace']}", markup=False)


def _show(name: str) -> str:
    return f"`{muster_command()} show {name}`"


def _say_where_it_went(queries: Queries, outbox: Outbox, out: Console) -> None:
    for event in queries.events(NAME, step="report", types=[EventType.STEP_SUCCEEDED]):
        output = StepSucceeded.of(event).output
        if isinstance(output, dict) and output.get("html"):
            out.print(Text(f"Report: {output['html']}"), soft_wrap=True)
    if kept := outbox.entries(run=NAME, status="kept"):
        told = "1 notice was" if len(kept) == 1 else f"{len(kept)} notices were"
        out.print(Text(f"{told} kept here, for no Slack or e-mail is connected: `{muster_command()} outbox`"))


def _print_changes(steps: list[Any], seen: dict[str, str], out: Console) -> None:
    for row in steps:
        key = row.step if row.index < 0 else f"{row.step}[{row.index}]"
        if row.status and seen.get(key) != row.status:
            seen[key] = row.status
            out.print(f"{key}: {row.status}", markup=False)


def _announce_approvals(client: AirflowClient, queries: Queries, name: str, announced: set[str], out: Console) -> None:
    for waiting in pending(client, *in_airflow(name), queries.timeline(name)):
        item = f" --item {waiting.index}" if waiting.index is not None else ""
        choice = f"--step {waiting.step}{item}"
        if choice in announced:
            continue
        # Text, not markup: a subject that looks like markup must not change how it is drawn above the live chart.
        if not announced:
            out.print(Text("A person must decide. Answer in a second window, in this folder, or in Airflow's UI:"))
        announced.add(choice)
        user = waiting.assignees[0] if waiting.assignees else "admin"
        out.print(Text.assemble(("? ", "magenta"), waiting.subject))
        out.print(Text(f"  {muster_command()} approve {name} {choice} --as {user}   (or reject)", style="dim"))
