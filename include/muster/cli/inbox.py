"""At the first start: the bundled invoices through the invoice automation, shown step by step."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.markup import escape

from muster.cli.approvals import pending
from muster.cli.picture import items_table, result, steps_table
from muster.cli.skills import call_skill
from muster.database import Database
from muster.errors import MusterError, TransientError
from muster.events.queries import Queries
from muster.local.client import AirflowClient
from muster.local.stack import Stack

AUTOMATION = "invoice_processing"
RUN_ID = "bundled-inbox"
"""Chosen by us, so that a second start finds the first one's run and repeats nothing."""
DAG_PATIENCE = 120.0
"""Seconds to wait for Airflow to list the automation."""


def bundled_invoices(include: Path) -> list[str]:
    """The files of the bundled inbox, as URIs."""
    folder = include / "inbox" / "invoices"
    return [path.as_uri() for path in sorted(folder.glob("*")) if path.is_file() and not path.name.startswith(".")]


def process_bundled_inbox(stack: Stack, out: Console) -> None:
    """Start the run unless it ever was, follow it to its end, and print what came of it."""
    invoices = bundled_invoices(stack.project.include)
    if not invoices:
        return
    database = Database(stack.dsn, max_size=2)
    try:
        with stack.client() as client:
            if client.run(AUTOMATION, RUN_ID) is not None:
                out.print(
                    f"The bundled invoices were processed before: `muster show {AUTOMATION}/{RUN_ID}`",
                    style="dim",
                )
                return
            if not _listed(client, out):
                return
            master_data = stack.project.include / "inbox" / "master-data.yaml"
            call_skill("finance.load_master_data", {"file": str(master_data)}, stack.project, database)
            client.trigger(AUTOMATION, {"invoices": invoices}, run_id=RUN_ID)
            follow(client, Queries(database), AUTOMATION, RUN_ID, out)
    finally:
        database.close()


def follow(
    client: AirflowClient,
    queries: Queries,
    dag_id: str,
    run_id: str,
    out: Console,
    *,
    timeout: float = float("inf"),
) -> bool:
    """Show a run step by step until it ends, then its result; True when it succeeded.

    Raises:
        TransientError: it has not ended after `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    name = f"{dag_id}/{run_id}"
    seen: dict[str, str] = {}
    announced: set[str] = set()
    out.print(f"Run [bold]{name}[/]")
    with Live(console=out, refresh_per_second=8, transient=True, auto_refresh=out.is_terminal) as live:
        while (run := client.run(dag_id, run_id)) is None or run["state"] not in ("success", "failed"):
            steps = queries.steps(name)
            if out.is_terminal:
                live.update(_picture(queries, name, steps))
            else:
                _print_changes(steps, seen, out)
            _announce_approvals(client, queries, name, announced, out)
            if time.monotonic() > deadline:
                raise TransientError(
                    f"{name} has not ended after {timeout:.0f} s.",
                    remedy=f"It goes on: `muster show {name}`.",
                )
            time.sleep(0.5)
    steps = queries.steps(name)
    if not out.is_terminal:
        _print_changes(steps, seen, out)
    out.print(result(steps, queries.timeline(name)))
    if run["state"] == "failed":
        out.print(f"The run failed: {_why(queries, name)}. See `muster show {name}`.", style="red")
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
    out.print(
        f"Airflow does not list {AUTOMATION}, so the bundled invoices wait for the next start.",
        style="yellow",
    )
    for error in client.import_errors():
        out.print(f"{error['filename']}: {error['stack_trace']}", markup=False)


def _picture(queries: Queries, name: str, steps: list[Any]) -> RenderableType:
    items = items_table(steps, queries.timeline(name))
    above: list[RenderableType] = [items, ""] if items else []
    return Group(*above, steps_table(steps, live=True))


def _print_changes(steps: list[Any], seen: dict[str, str], out: Console) -> None:
    for row in steps:
        key = row.step if row.index < 0 else f"{row.step}[{row.index}]"
        if row.status and seen.get(key) != row.status:
            seen[key] = row.status
            out.print(f"{key}: {row.status}", markup=False)


def _announce_approvals(client: AirflowClient, queries: Queries, name: str, announced: set[str], out: Console) -> None:
    dag_id, _, run_id = name.partition("/")
    for it in pending(client, dag_id, run_id, queries.timeline(name)):
        item = f" --item {it.index}" if it.index is not None else ""
        choice = f"--step {it.step}{item}"
        if choice in announced:
            continue
        announced.add(choice)
        out.print(f"[magenta]?[/] {escape(it.subject)}")
        out.print(
            f"  answer with: muster approve {name} {choice} --as {(*it.assignees, 'admin')[0]}   (or reject)",
            markup=False,
            style="dim",
        )
