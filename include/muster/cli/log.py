"""`muster replay`, `rebuild` and `verify`: the log, and the projections that are derived from it."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence
from contextlib import closing
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import typer
from rich.markup import escape
from rich.table import Table

from muster.cli.connections import open_database
from muster.cli.output import Exit, console, counted, emit, messages, open_table
from muster.cli.run_chart import mark, word
from muster.database import Database
from muster.events.checkpoints import CHECKPOINTS, Checkpoint, Verification, known_streams, verify, write_checkpoint
from muster.events.costs import by_run, cost_in_words
from muster.events.log import EventLog
from muster.events.queries import Queries
from muster.events.rebuild import rebuild
from muster.events.replay import Difference, Replay, has_events, replay
from muster.events.verification import Fault
from muster.events.work import StepState, WorkState
from muster.local.project import find_project

SHOWN = 20
"""Differences printed for people; machines get all."""
_RESTORE = "Restore the database or the file from a backup, and find out who changed it."


def stream_of(database: Database, id: str) -> str:
    """The run's stream: by its exact name in the log, which needs no projection, else as `muster show` finds it.

    Raises:
        MusterError: no run or several match.
    """
    return id if id and has_events(database, id) else Queries(database).run(id).id


def replay_run(id: str, *, until: str | None, step: str | None, as_json: bool) -> None:
    """Fold a run's events again, and at the end of its log compare the state with the projections."""
    moment = _moment(until)
    with closing(open_database()) as database:
        stream = stream_of(database, id)
        EventLog(database).ensure_untampered(stream)
        replayed = replay(database, stream, until=moment, step=step)
        unpriced = by_run(Queries(database).unpriced([stream], until=replayed.version))[stream]
    if as_json:
        emit(_machine(replayed, step))
    else:
        _show(replayed, step, unpriced)
    if replayed.differences:
        raise typer.Exit(Exit.FAILED)


def rebuild_projections(id: str | None, *, as_json: bool) -> None:
    """Write the projections of one run, or of all, again from the log."""
    began = time.monotonic()
    with closing(open_database()) as database:
        done = rebuild(database, None if id is None else stream_of(database, id))
    seconds = round(time.monotonic() - began, 3)
    if as_json:
        emit({**asdict(done), "seconds": seconds})
    else:
        _tell_faults(done.faults)
        console().print(
            f"Made {counted(done.rows, 'row')} of {counted(done.runs, 'run')} new from the log in {seconds:.1f} s."
        )
    if done.faults:
        messages().print(
            f"Of {counted(len(done.faults), 'run')} the rows stay: the log is not as it was written. {_RESTORE}",
            style="bold red",
        )
        raise typer.Exit(Exit.FAILED)


def verify_log(id: str | None, *, checkpoint: bool, begin: bool, file: Path | None, as_json: bool) -> None:
    """Check one run or the whole log against its hashes and the checkpoints; then write a checkpoint when asked to."""
    if (id is not None and checkpoint) or (begin and not checkpoint):
        raise typer.BadParameter("--checkpoint is for the whole log, and --begin goes with it.")
    path = file or find_project().state / CHECKPOINTS
    written = None
    with closing(open_database()) as database:
        stream = None if id is None else _verified_stream(database, id, path)
        verification = verify(database, path, stream, lost=begin)
        if checkpoint and not verification.faults:
            written = write_checkpoint(EventLog(database), path, begin=begin)
    if as_json:
        emit({**asdict(verification), "checkpoint": written})
    else:
        _report(verification, written, checkpoint)
    if verification.faults:
        raise typer.Exit(Exit.FAILED)


def _verified_stream(database: Database, id: str, path: Path) -> str:
    """A run's stream: known to the log, or to the checkpoints when every event of it was removed."""
    return id if id in known_streams(path) else stream_of(database, id)


def _report(verification: Verification, written: Checkpoint | None, wanted: bool) -> None:
    out = console()
    _tell_faults(verification.faults)
    if verification.faults:
        out.print(
            f"[bold red]{counted(len(verification.faults), 'fault')}[/] in {counted(verification.streams, 'stream')}."
        )
        out.print(_RESTORE)
        if wanted:
            out.print("No checkpoint was written.")
        return
    out.print(
        f"[green]Everything is as it was written[/]: "
        f"{counted(verification.events, 'event')} of {counted(verification.streams, 'stream')}."
    )
    out.print(
        f"Checkpoints: {verification.checkpoints}; they witness the end of {counted(verification.covered, 'stream')}."
    )
    if written is not None:
        out.print(f"Wrote checkpoint {written.number} ({written.hash}).")


def _tell_faults(faults: Sequence[Fault]) -> None:
    for fault in faults:
        where = f"{fault.stream} at {fault.version}" if fault.stream else "checkpoints"
        console().print(f"[red]✗[/] {escape(where)}: {fault.kind}: {escape(fault.message)}")


def _moment(text: str | None) -> int | datetime | None:
    if text is None:
        return None
    if text.isascii() and text.isdigit():
        return int(text)
    try:
        # A time without an offset is this machine's local time, as `muster show` prints times.
        return datetime.fromisoformat(text).astimezone()
    except (ValueError, OverflowError) as error:
        raise typer.BadParameter(
            f"{text!r} is neither a version nor a time such as 2026-05-04T10:30 or 2026-05-04T10:30:00+02:00.",
            param_hint="--until",
        ) from error


def _machine(replayed: Replay, step: str | None) -> dict[str, object]:
    told = asdict(replayed)
    for id, state in replayed.state.steps.items():
        told["state"]["steps"][id]["status"] = state.status
    if step is not None:
        told["step"] = told["state"]["steps"].get(step)
    return told


def _show(replayed: Replay, step: str | None, unpriced: int) -> None:
    out, state = console(), replayed.state
    facts = Table.grid(padding=(0, 2))
    facts.add_row("run", f"[bold]{escape(replayed.run)}[/]")
    facts.add_row("events", f"{replayed.version} of {replayed.last}, the last of them {_when(replayed.at)}")
    facts.add_row("status", word(state.status) + (f"  {escape(state.reason)}" if state.reason else ""))
    facts.add_row("version", (state.definition or "")[:12])
    facts.add_row("models", f"{counted(state.calls, 'call')}, {cost_in_words(state.cost, state.calls, unpriced)}")
    out.print(facts)
    out.print()
    if step is None:
        out.print(_steps(state.steps.values()))
    elif step in state.steps:
        out.print(_step(state.steps[step]))
    if replayed.differences is not None:
        out.print()
        _tell(replayed.differences)


def _tell(differences: list[Difference]) -> None:
    out = console()
    if not differences:
        out.print("[green]The projections say what the log says.[/]")
        return
    out.print(f"[bold red]The projections differ from the log in {counted(len(differences), 'place')}:[/]")
    table = open_table("table", "row", "column", "stored", "log")
    for difference in differences[:SHOWN]:
        cells = (difference.table, difference.row, difference.column, str(difference.stored), str(difference.derived))
        table.add_row(*(escape(cell) for cell in cells))
    out.print(table)
    if len(differences) > SHOWN:
        out.print(f"… and {len(differences) - SHOWN} more; --json prints all.")
    out.print("`muster rebuild` makes the projections new from the log.")


def _steps(steps: Any) -> Table:
    table = open_table("", "step", "status", "items", "attempt", "ended")
    for step in steps:
        counts = ", ".join(f"{count} {name}" for name, count in step.counts.items() if count)
        items = f"{len(step.items)} of {len(step.indices)}: {counts or 'none ended'}" if step.is_fan_out else ""
        attempt = str(step.whole.attempt or "")
        table.add_row(mark(step.status), escape(step.id), word(step.status), items, attempt, _when(step.whole.ended_at))
    return table


def _step(step: StepState) -> Table:
    table = open_table("", "what", folded=[""])
    works: list[tuple[str, WorkState]] = [(step.id, step.whole)]
    works += [(f"{step.id}[{index}]", item) for index, item in sorted(step.items.items())]
    for name, work in works:
        table.add_row(mark(work.status), escape(name), f"{word(work.status)} attempt {work.attempt}")
        for what in ("input", "output", "error", "reason", "findings", "approval"):
            value = getattr(work, what)
            if value not in (None, [], {}):
                text = value if isinstance(value, str) else json.dumps(_plain(value), ensure_ascii=False, default=str)
                table.add_row("", f"[dim]{what}[/]", escape(text))
    return table


def _plain(value: Any) -> object:
    return asdict(value) if hasattr(value, "__dataclass_fields__") else value


def _when(moment: datetime | None) -> str:
    return moment.astimezone().isoformat(sep=" ", timespec="milliseconds") if moment else ""
