"""`muster up`, `down` and `status`: starting with a progress display, stopping, telling."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from types import FrameType
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rich.console import Console, RenderableType
from rich.live import Live
from rich.panel import Panel
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from muster.cli.connections import airflow_elsewhere
from muster.cli.output import Exit, complain, console, emit, messages, muster_command
from muster.cli.pausing import paused_ones
from muster.errors import MusterError
from muster.local.airflow import COMPONENTS, HEALTH_NAMES
from muster.local.credentials import load_credentials
from muster.local.project import Project, find_project
from muster.local.running import AlreadyRunning, Running, find_running, stop_running

if TYPE_CHECKING:
    from muster.local.stack import Stack


PORT = 8080
"""Where Airflow listens unless another port is named."""


class Display:
    """What is being started: a live table on a terminal, one line per event in a pipe."""

    def __init__(self, out: Console) -> None:
        self._out = out
        self._began = time.monotonic()
        self._lines: dict[str, tuple[bool, str]] = {}
        self._live = Live(get_renderable=self._render, console=out, refresh_per_second=8)

    def __enter__(self) -> Display:
        if self._out.is_terminal:
            self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def begin(self, name: str, text: str) -> None:
        """Show a part as starting."""
        self._lines[name] = (False, text)

    def done(self, name: str, text: str) -> None:
        """Show a part as up."""
        if self._lines.get(name) != (True, text):
            self._lines[name] = (True, text)
            if not self._out.is_terminal:
                self._out.print(f"{name}: {text}", markup=False)

    def health(self, report: dict[str, bool]) -> None:
        """Show each of Airflow's processes as healthy or starting."""
        for name, well in report.items():
            if well:
                self.done(name, "healthy")
            else:
                self.begin(name, "starting")

    def _render(self) -> RenderableType:
        table = Table.grid(padding=(0, 1))
        for name, (done, text) in self._lines.items():
            mark: RenderableType = "[green]✓[/]" if done else Spinner("dots", style="cyan")
            table.add_row(mark, name, f"[{'green' if done else 'dim'}]{text}[/]")
        if not all(done for done, _ in self._lines.values()):
            table.add_row("", "", f"[dim]{time.monotonic() - self._began:.0f} s[/]")
        return table


def start(*, port: int | None, host: str, detach: bool, inbox: bool, as_json: bool) -> None:
    """Start everything and stay until told to stop.

    Args:
        port: Of Airflow; None for the usual one.
    """
    from muster.local.stack import Stack

    project = find_project()
    out = messages() if as_json else console()
    if (running := find_running(project.state)) is not None:
        if port is not None and port != urlsplit(running.url).port:
            raise AlreadyRunning(
                f"Muster is running already, at {running.url}: the port {port} was not taken.",
                remedy=f"`muster down` stops it, then `muster up --port {port}` starts it there.",
            )
        _tell_running(project, running, as_json=as_json)
        return
    port = PORT if port is None else port
    _ensure_here("docker compose up --detach")
    if detach:
        _start_detached(project, port=port, host=host, inbox=inbox, as_json=as_json)
        return
    stack = Stack(project.root, project.state, port, host=host, say=lambda text: out.print(Text(text, style="yellow")))
    with _signals_interrupt():
        try:
            _bring_up(stack, out)
            if as_json:
                _tell_machine(stack)
            else:
                _announce(stack, out)
            if inbox:
                _process_inbox(stack, out)
            while True:
                time.sleep(3600)
        except KeyboardInterrupt:
            out.print("Stopping")
        finally:
            with _signals_ignored():
                stack.stop()
    out.print("Stopped.")


def end(*, as_json: bool) -> None:
    """Stop what runs."""
    project = find_project()
    out = messages() if as_json else console()
    if find_running(project.state) is None:
        _ensure_here("docker compose down")
    with out.status("Stopping"):
        stopped = stop_running(project.state)
    if as_json:
        emit({"stopped": stopped})
    else:
        out.print("Stopped." if stopped else "Nothing was running.")


def tell(*, as_json: bool) -> None:
    """Show what runs and how it is."""
    import typer

    project = find_project()
    running = find_running(project.state)
    url = running.url.replace("localhost", "127.0.0.1") if running else airflow_elsewhere()
    if url is None:
        if as_json:
            emit({"running": False})
        else:
            console().print("Not running. Start it with `muster up`.", markup=False)
        raise typer.Exit(Exit.FAILED)
    report = _health(url)
    paused = paused_ones() if report else None
    if as_json:
        facts = _public(running) if running else {"url": url}
        emit({"running": bool(report), **facts, "health": report, "paused": paused})
    else:
        console().print(_status_table(url, report, running, paused or []))
    if not report or any(state != "healthy" for state in report.values()):
        raise typer.Exit(Exit.FAILED)


def _bring_up(stack: Stack, out: Console) -> None:
    with Display(out) as display:
        display.begin("databases", "preparing (the first time takes a little longer)")
        stack.prepare()
        display.done("databases", stack.place)
        stack.launch()
        stack.wait_healthy(progress=display.health)


def _process_inbox(stack: Stack, out: Console) -> None:
    from muster.cli.follow_run import process_bundled_inbox

    try:
        process_bundled_inbox(stack, out)
    except MusterError as error:
        # Only the demonstration failed: Airflow stays up.
        complain(error)
    # Printed once more, because the first time it may have scrolled away above the results.
    login = f"login admin, password [bold]{stack.credentials.admin.password}[/]"
    out.print(f"Running at [link={stack.url}]{stack.url}[/link] ({login}). Ctrl-C stops it.")


def _tell_machine(stack: Stack) -> None:
    password = stack.credentials.admin.password
    emit({"url": stack.url, "login": "admin", "password": password, "pid": os.getpid()})
    sys.stdout.flush()


def _announce(stack: Stack, out: Console) -> None:
    login = stack.credentials.admin
    others = ", ".join(name for name in stack.credentials.logins if name != "admin")
    grid = Table.grid(padding=(0, 2))
    grid.add_row("Airflow", f"[link={stack.url}]{stack.url}[/link]")
    grid.add_row("login", f"admin  [bold]{login.password}[/]")
    grid.add_row("others", Text(f"{others} (passwords in {stack.project.state / 'credentials.json'})"))
    grid.add_row("databases", stack.place)
    grid.add_row("logs", Text(str(stack.project.logs)))
    grid.add_row("stop", f"Ctrl-C here, or `{muster_command()} down`")
    out.print(Panel(grid, title="Muster is up", border_style="green", expand=False))


def _tell_running(project: Project, running: Running, *, as_json: bool, before: bool = True) -> None:
    if as_json:
        login = load_credentials(project.state).admin
        emit(
            {
                "already_running": before,
                "url": running.url,
                "login": "admin",
                "password": login.password,
                "pid": running.pid,
            }
        )
        return
    console().print(
        f"Muster is {'running already' if before else 'up'} at [link={running.url}]{running.url}[/link] "
        f"(process {running.pid}). `muster status` shows how it is, `muster down` stops it."
    )


def _start_detached(project: Project, *, port: int, host: str, inbox: bool, as_json: bool) -> None:
    project.make_state()
    log = project.logs / "up.log"
    command = [
        sys.executable,
        "-P",
        "-m",
        "muster.cli",
        "up",
        "--port",
        str(port),
        "--host",
        host,
        "--inbox" if inbox else "--no-inbox",
    ]
    with log.open("w") as output:
        # Before anything is written: `muster up` prints the password.
        log.chmod(0o600)
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd=project.root, start_new_session=True
        )
    out = messages() if as_json else console()
    with out.status("Starting"):
        while (running := find_running(project.state)) is None or not running.ready:
            if child.poll() is not None:
                raise MusterError(log.read_text().strip(), remedy=f"That was the end of {log}.")
            time.sleep(0.3)
    _tell_running(project, running, as_json=as_json, before=False)


def _ensure_here(command: str) -> None:
    if url := airflow_elsewhere():
        raise MusterError(
            f"Airflow runs elsewhere: AIRFLOW_URL says {url}.",
            remedy=f"Do it where it runs (with Docker `{command}`, beside the compose file), or unset AIRFLOW_URL.",
        )


def _health(url: str) -> dict[str, str]:
    from muster.local.client import AirflowClient, Unreachable

    with AirflowClient(url, "", "", timeout=5) as client:
        try:
            report = client.health()
        except Unreachable:
            return {}
    return {name: report.get(HEALTH_NAMES.get(name, name), "unhealthy") for name in COMPONENTS}


def _public(running: Running) -> dict[str, object]:
    return {name: value for name, value in asdict(running).items() if name != "dsn"}


def _status_table(url: str, report: dict[str, str], running: Running | None, paused: Sequence[str]) -> Table:
    table = Table.grid(padding=(0, 2))
    shown = running.url if running else url
    table.add_row("Airflow", f"[link={shown}]{shown}[/link]" if running is None or running.ready else "starting")
    for name, state in report.items():
        table.add_row(name, f"[{'green' if state == 'healthy' else 'red'}]{state}[/]")
    if not report:
        table.add_row("", "[red]does not answer[/]")
    if paused:
        table.add_row("paused", f"[yellow]{', '.join(paused)}[/]")
    if running is None:
        return table
    table.add_row("databases", running.place)
    table.add_row("supervisor", f"process {running.pid}")
    table.add_row("logs", Text(running.log_folder))
    return table


@contextlib.contextmanager
def _signals_interrupt() -> Iterator[None]:
    def interrupt(_number: int, _frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, interrupt) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


@contextlib.contextmanager
def _signals_ignored() -> Iterator[None]:
    # A second Ctrl-C while everything is stopped must not leave processes behind; stopping has its own time limits.
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
