"""`muster dead-letters` and `muster restart`: a person has work done again, or decides that it is not."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from contextlib import closing, suppress
from dataclasses import asdict
from typing import Any

from rich.markup import escape
from rich.table import Table

from muster.cli.output import console, emit
from muster.cli.place import airflow, muster_dsn, open_log
from muster.database import Database
from muster.errors import MusterError, PermanentError
from muster.events.definitions import DefinitionStore
from muster.events.queries import Queries
from muster.execution.references import ENDED_IN_AIRFLOW
from muster.local.client import AirflowClient
from muster.local.project import find_project
from muster.notifications.outbox import Outbox
from muster.operations.redoing import Plan, content, order, plan_discard, plan_redrive, plan_restart, standing
from muster.recovery.dead_letters import DeadLetter, DeadLetters, Filter

STYLES = {"redriven": "cyan", "discarded": "dim"}


def list_letters(wanted: Filter, *, limit: int, discarded: bool, as_json: bool) -> None:
    """List what could not be processed, newest first."""
    with _database() as database:
        found = DeadLetters(database).waiting(wanted, limit=limit, discarded=discarded)
    if as_json:
        emit(found)
    elif found:
        console().print(_table(found))
    else:
        console().print("There are no dead letters.")


def show_letter(id: str, *, as_json: bool) -> None:
    """Show one whole: its cause, what it was to work on, and what was tried."""
    with _database() as database:
        letter = DeadLetters(database).get(id)
        whole = asdict(letter) | _whole(database, letter)
    if as_json:
        emit(whole)
        return
    table = Table.grid(padding=(0, 2))
    for name, value in whole.items():
        if name == "events":
            value = "\n".join(f"{it['at']:%Y-%m-%d %H:%M:%S} {it['type']} {it['actor']}" for it in value)
        if value is not None:
            table.add_row(name.replace("_", " "), escape(str(value)))
    console().print(table)


def redrive(ids: Sequence[str], wanted: Filter, *, limit: int, dry_run: bool, user: str, as_json: bool) -> None:
    """Have dead letters done again, one run after the other."""
    with _database() as database:
        letters = _chosen(database, ids, wanted, limit)
        plans = [
            plan_redrive(open_log(database), DefinitionStore(database), run, pieces, by=user)
            for run, pieces in _by_run(letters).items()
        ]
        tasks = _carry_out(database, plans, user, dry_run=dry_run)
    _tell(letters, "Would redrive" if dry_run else "Redriven", tasks, as_json=as_json)


def discard(
    ids: Sequence[str], wanted: Filter, *, limit: int, reason: str, dry_run: bool, user: str, as_json: bool
) -> None:
    """Write down that dead letters are not to be done any more, and why."""
    with _database() as database:
        letters = _chosen(database, ids, wanted, limit)
        log, chosen = open_log(database), _by_run(letters)
        plans = [plan_discard(log, run, pieces, by=user, reason=reason) for run, pieces in chosen.items()]
        stands: dict[str, list[str]] = {}
        for run, pieces in chosen.items():
            # Discarding is right also for a run whose definition is gone; what it did before is then not known.
            with suppress(MusterError):
                stands[run] = standing(log, DefinitionStore(database), run, pieces)
        for plan in plans if not dry_run else ():
            order(log, plan)
    _tell(letters, "Would discard" if dry_run else "Discarded", {}, as_json=as_json, stands=stands)


def restart_run(run: str, *, step: str, dry_run: bool, user: str, as_json: bool) -> None:
    """Have a run performed again from a step on."""
    with _database() as database:
        run = Queries(database).run(run).id
        plan = plan_restart(open_log(database), DefinitionStore(database), run, step, by=user)
        tasks = _carry_out(database, [plan], user, dry_run=dry_run)
    if as_json:
        emit({"run": run, "from": step, "steps": plan.steps, "tasks": tasks[run], "by": user, "dry_run": dry_run})
        return
    said = "would be done again" if dry_run else "are done again"
    console().print(f"{escape(run)}: {', '.join(plan.steps)} {said}.")


def _carry_out(database: Database, plans: Sequence[Plan], user: str, *, dry_run: bool) -> dict[str, list[Any]]:
    """Ask Airflow before anything is written, write, then have it go on; the tasks by run."""
    with airflow(user) as client:
        tasks = {plan.run: _tasks(client, plan) for plan in plans}
        for plan in plans if not dry_run else ():
            order(open_log(database), plan)
            dag_id, _, run_id = plan.run.partition("/")
            client.clear(dag_id, run_id, tasks[plan.run])
    return tasks


def _tasks(client: AirflowClient, plan: Plan) -> list[Any]:
    dag_id, _, run_id = plan.run.partition("/")
    found = client.run(dag_id, run_id)
    if found is None:
        raise PermanentError(f"Airflow does not know {plan.run} any more: it cannot be done again.")
    if found["state"] not in ENDED_IN_AIRFLOW:
        raise PermanentError(f"{plan.run} has not ended in Airflow.", remedy="Try again in a moment.")
    return plan.tasks(task["task_id"] for task in client.tasks(dag_id, run_id))


def _chosen(database: Database, ids: Sequence[str], wanted: Filter, limit: int) -> list[DeadLetter]:
    """Those that are named, else those that the filter lets through and nobody has decided about."""
    letters = DeadLetters(database)
    if ids:
        return [letters.get(id) for id in ids]
    if wanted == Filter(set_aside=wanted.set_aside):
        raise PermanentError("Nothing was chosen.", remedy="Name dead letters, or give a filter such as --automation.")
    found = [it for it in letters.waiting(wanted, limit=limit) if it.kind in ("item", "step")]
    if not found:
        raise PermanentError("No dead letter fits.", remedy="`muster dead-letters list` shows them.")
    return found


def _by_run(letters: Sequence[DeadLetter]) -> dict[str, dict[str, list[int | None]]]:
    runs: dict[str, dict[str, list[int | None]]] = {}
    for it in letters:
        if it.kind == "notice":
            raise PermanentError(f"{it.id} is a notice.", remedy=_about_notice(it))
        if it.run is None or it.step is None:
            raise PermanentError(
                f"{it.id} failed without a word of any step.", remedy=f"Use `muster restart {it.id} --from STEP`."
            )
        runs.setdefault(it.run, {}).setdefault(it.step, []).append(it.index)
    return runs


def _about_notice(letter: DeadLetter) -> str:
    if letter.run is None:
        return "Tell its people by other means; `muster outbox` shows it whole."
    return f"Redrive the step of {letter.run} that sends it, or tell its people by other means."


def _whole(database: Database, letter: DeadLetter) -> dict[str, Any]:
    if letter.kind == "notice":
        number = int(letter.id.removeprefix("notice/"))
        entries = Outbox(database).entries(run=letter.run, status="failed", limit=10_000)
        return {"notice": next((it.model_dump(mode="json") for it in entries if it.id == number), None)}
    log = open_log(database)
    events = [
        {"version": it.version, "at": it.at, "type": it.type, "actor": it.actor, "data": it.data}
        for it in log.read(letter.run or "", steps=[letter.step] if letter.step else None)
        if it.data.get("index") == letter.index or letter.step is None
    ]
    item = content(log, DefinitionStore(database), letter.run or "", letter.step, letter.index)
    return {**item, "events": events}


def _table(letters: Sequence[DeadLetter]) -> Table:
    table = Table("since", "dead letter", "kind", "error", box=None, header_style="bold", padding=(0, 2))
    table.add_column("cause", overflow="fold")
    for it in letters:
        mark = f"[{STYLES[it.decision]}]{it.decision}[/] " if it.decision else ""
        since = f"{it.at.astimezone():%Y-%m-%d %H:%M}"
        table.add_row(since, escape(it.id), mark + it.kind, escape(it.error_class or ""), escape(it.cause or ""))
    return table


def _tell(
    letters: Sequence[DeadLetter],
    verb: str,
    tasks: dict[str, list[Any]],
    *,
    as_json: bool,
    stands: Mapping[str, Sequence[str]] | None = None,
) -> None:
    if as_json:
        done = {"letters": [it.id for it in letters], "tasks": tasks, "done": not verb.startswith("Would")}
        emit(done if stands is None else {**done, "stands": stands})
        return
    for it in letters:
        console().print(f"{verb} {it.id}: {it.cause or ''}", markup=False)
    for run, works in (stands or {}).items():
        if works:
            console().print(f"What {run} did for it before stands: {', '.join(works)}.", markup=False)


def _database() -> Any:
    return closing(Database(muster_dsn(find_project()), max_size=2, timeout=10))
