"""How commands speak: Rich on a terminal, plain text in a pipe, JSON when a machine asks, and exit codes."""

from __future__ import annotations

import dataclasses
import json
import os
import shlex
import shutil
import sys
import unicodedata
from collections.abc import Sequence
from datetime import date, datetime
from decimal import Decimal
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import UUID

from rich.console import Console
from typer import BadParameter
from typer.core import TyperGroup

from muster.errors import MusterError, TransientError

if TYPE_CHECKING:
    from rich.table import Column, Table

PIPE_WIDTH = 10_000
"""Columns of tables in a pipe: enough that no line is ever cut."""


class Exit(IntEnum):
    """Exit codes of every command."""

    OK = 0
    """Done."""
    FAILED = 1
    """What was asked for failed: a run, a check, an automation with problems."""
    USAGE = 2
    """The command line itself was wrong."""
    UNREACHABLE = 3
    """Airflow or the database does not answer."""
    PORT = 4
    """The port is in use by another program."""
    PAUSED = 5
    """What was waited for does not go on, because its automation is paused."""
    INTERRUPTED = 130
    """Ctrl-C."""


def console() -> Console:
    """Standard output, for results."""
    return _console(stderr=False)


def messages() -> Console:
    """Standard error, for everything that is not a result."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    terminal = (sys.stderr if stderr else sys.stdout).isatty()
    # A pipe has no width: lines are left whole for the program that reads them.
    wide = None if terminal or "COLUMNS" in os.environ else PIPE_WIDTH
    return Console(stderr=stderr, highlight=False, soft_wrap=not terminal, width=wide)


def muster_command() -> str:
    """How `muster` can be called from here: by name when it is on the path, else by the path to it."""
    own = Path(sys.executable).with_name("muster")
    on_path = shutil.which("muster")
    if (on_path is not None and Path(on_path).resolve() == own.resolve()) or not own.exists():
        return "muster"
    near = own.relative_to(Path.cwd()) if own.is_relative_to(Path.cwd()) else own
    return shlex.quote(str(near))


def open_table(*columns: str | Column, folded: Sequence[str] = (), padding: int = 2) -> Table:
    """An empty table without borders; the columns in `folded` come last and break long values into several lines."""
    from rich.table import Table

    table = Table(*columns, box=None, header_style="bold", padding=(0, padding))
    for name in folded:
        table.add_column(name, overflow="fold")
    return table


def counted(number: int, noun: str) -> str:
    """`1 call`, `2 calls`."""
    return f"{number} {noun}{'' if number == 1 else 's'}"


def in_hours(seconds: int) -> str:
    """`2h 5m`, `3m 10s`, `40s`."""
    hours, rest = divmod(seconds, 3600)
    minutes, left = divmod(rest, 60)
    return f"{hours}h {minutes}m" if hours else f"{minutes}m {left}s" if minutes else f"{left}s"


def emit(value: object) -> None:
    """Print one value as JSON on standard output."""
    sys.stdout.write(harmless(json.dumps(value, default=_plain, indent=2, ensure_ascii=False)) + "\n")


def harmless(text: str) -> str:
    """The text, for a terminal without its control characters, which a terminal would obey."""
    if not sys.stdout.isatty():
        return text
    return "".join(c for c in text if c in "\n\t" or unicodedata.category(c) != "Cc")


def _plain(value: object) -> object:
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return dataclasses.asdict(value)
    if isinstance(value, datetime | date):
        return value.isoformat()
    if isinstance(value, Decimal | Path | UUID):
        return str(value)
    if hasattr(value, "model_dump"):
        return value.model_dump(mode="json")
    if isinstance(value, set | frozenset | tuple):
        return list(value)
    raise TypeError(f"{type(value).__name__} has no JSON form")


class Commands(TyperGroup):
    """Turns errors people meet into a message, a remedy and an exit code; `--debug` shows tracebacks."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command."""
        try:
            return super().invoke(ctx)
        except BadParameter as error:
            error.message = _in_plain_words(error)
            raise
        except Exception as error:
            if not isinstance(error, MusterError) and not _is_outage(error):
                raise
            if ctx.params.get("debug") or os.environ.get("MUSTER_DEBUG"):
                messages().print_exception()
            complain(error)
            ctx.exit(exit_code(error))
        except KeyboardInterrupt:
            ctx.exit(Exit.INTERRUPTED)
        except BrokenPipeError:
            # The reader (`head`, `less`) has seen enough.
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            ctx.exit(Exit.OK)


def _in_plain_words(error: BadParameter) -> str:
    """What is wrong with an option or argument. Typer has Pydantic say so where it checks a type or a range."""
    from muster.misfits import in_words

    errors: Any = getattr(error.__cause__, "errors", None)
    return in_words(errors()[0]) if errors else error.message


def complain(error: Exception) -> None:
    """Say what went wrong and what to do about it."""
    from muster.redaction import redact

    out = messages()
    message = error.message if isinstance(error, MusterError) else f"The database does not answer: {error}".strip()
    remedy = error.remedy if isinstance(error, MusterError) else "Start it with `muster up`."
    out.print("error:", style="bold red", end=" ")
    out.print(redact(message), markup=False)
    if remedy:
        out.print(redact(remedy), markup=False, style="yellow")


def exit_code(error: Exception) -> Exit:
    """The exit code that tells a script what kind of failure this was."""
    from muster.local.client import Paused
    from muster.local.running import PortBusy

    if isinstance(error, PortBusy):
        return Exit.PORT
    if isinstance(error, Paused):
        return Exit.PAUSED
    if isinstance(error, TransientError) or _is_outage(error):
        return Exit.UNREACHABLE
    return Exit.FAILED


def _is_outage(error: Exception) -> bool:
    """True when the database does not answer.

    Its driver is heavy and is not imported for this: an error of a module that was never imported cannot be here.
    """
    kinds = (("psycopg", "OperationalError"), ("psycopg_pool", "PoolTimeout"))
    return any(name in sys.modules and isinstance(error, getattr(sys.modules[name], kind)) for name, kind in kinds)
