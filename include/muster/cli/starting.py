"""`muster run`: starts a run, and follows it to its end when asked to."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import typer

from muster.cli.connections import airflow, open_queries
from muster.cli.options import ensure_declared, pairs
from muster.cli.output import Exit, console, emit
from muster.cli.pausing import told_paused, unknown
from muster.errors import MusterError
from muster.events.event_summary import shortened
from muster.language.problems import NOT_VALID
from muster.local.client import AirflowClient

if TYPE_CHECKING:
    from muster.events.queries import Queries, RunRow


def start_run(
    name: str, entries: Sequence[str], *, run_id: str | None, wait: bool, timeout: float, user: str, as_json: bool
) -> None:
    """Start a run, and follow it to its end when asked to."""
    inputs = pairs(entries, "--input")
    with airflow(user) as client:
        if (dag := client.details(name)) is None:
            raise unknown(client, name)
        if (said := str(dag.get("description"))).startswith(NOT_VALID):
            raise MusterError(
                f"{name} is not valid and cannot run: {said.removeprefix(NOT_VALID)}",
                remedy="`muster lint` and `muster doctor` show what to do; it runs once Airflow has read it mended.",
            )
        if inputs:
            ensure_declared(name, inputs, list(dag.get("params") or {}))
        run, new = client.trigger(name, inputs, run_id=run_id)
        identity = f"{name}/{run['dag_run_id']}"
        if not new and (run.get("conf") or {}) != inputs:
            given = shortened(run.get("conf") or {})
            raise MusterError(
                f"{identity} is there already, with other inputs: {given}. Nothing was started.",
                remedy=f"Give another --run-id; `muster show {identity}` shows that one.",
            )
        if wait:
            _follow(client, name, run["dag_run_id"], timeout, as_json=as_json)
        elif as_json:
            emit({"run": identity, "new": new, "state": run["state"], "paused": bool(dag.get("is_paused"))})
        else:
            said = f"Started {identity}" if new else f"{identity} is there already, with the same inputs"
            console().print(f"{said}. Follow it with `muster show {identity}`.", markup=False)
            if dag.get("is_paused"):
                console().print(told_paused(name), markup=False)


def _follow(client: AirflowClient, name: str, run_id: str, timeout: float, *, as_json: bool) -> None:
    from muster.cli.follow_run import follow

    with open_queries() as (queries, _):
        if as_json:
            run, id = client.wait_for_run(name, run_id, timeout=timeout), f"{name}/{run_id}"
            emit({"run": id, "state": run["state"], "record": _record(queries, id)})
            good = run["state"] == "success"
        else:
            good = follow(client, queries, name, run_id, console(), timeout=timeout)
    if not good:
        raise typer.Exit(Exit.FAILED)


def _record(queries: Queries, id: str) -> RunRow | None:
    try:
        return queries.run(id)
    except MusterError:
        return None
