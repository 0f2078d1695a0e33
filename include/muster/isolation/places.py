"""Where a program works, made before it begins and cleared after it: a folder, a git worktree, a container."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator, Iterable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from muster.errors import PermanentError
from muster.isolation import landlock
from muster.isolation.machine import PATH, machine
from muster.isolation.order import Order
from muster.isolation.processes import threads_of_user
from muster.isolation.running import MARK
from muster.isolation.spec import Settled
from muster.isolation.workspaces import Workspace, make

SLACK = 4
"""Processes that the system lets it have beyond its limit: two are Muster's own, and passing the limit must be seen."""
NEIGHBOURS = 256
"""Processes that others of the same user may begin meanwhile, where the system counts all of a user's together."""


@dataclass(frozen=True)
class Place:
    """A place that is ready."""

    work: Path
    order: Order

    async def finished(self, given: object) -> object:
        """What came of it, once the program has ended well: what the program gave."""
        return given


@asynccontextmanager
async def place_of(
    means: Settled, run_folder: Path, include: Path | None, identity: Mapping[str, Any]
) -> AsyncIterator[Place]:
    """A place for one attempt, as the body; cleared after it, unless it is to be kept.

    Raises:
        PermanentError: it cannot be made, or the machine cannot hold the program to what is demanded.
    """
    if means.isolation != "folder":
        raise PermanentError(f"`isolation: {means.isolation}` is not there yet.")
    await asyncio.to_thread(machine)
    machine().ensure_holds(network=means.network)
    environment = _environment(means)
    program = _program(means, include)
    named = {name: identity[name] for name in ("run", "step", "index", "key")}
    workspace = await asyncio.to_thread(make, run_folder, **named)
    failed = True
    try:
        yield Place(workspace.work, _order(means, workspace, program, environment, include))
        failed = False
    finally:
        keep = means.keep == "always" or (failed and means.keep == "on_failure")
        await asyncio.to_thread(workspace.leave, keep=keep)


def _order(
    means: Settled, workspace: Workspace, program: list[str], environment: dict[str, str], include: Path | None
) -> Order:
    own = (workspace.work, workspace.temporary, workspace.home)
    namespaces = machine().unshare(network=means.network)
    allowed = means.limits["processes"] + SLACK
    return Order(
        program=program,
        environment={
            "PATH": PATH,
            "HOME": str(workspace.home),
            "TMPDIR": str(workspace.temporary),
            "LANG": "C.UTF-8",
            **environment,
            MARK: workspace.name,
        },
        folder=str(workspace.work),
        measured=str(workspace.folder),
        readable=[
            *landlock.SYSTEM,
            *_read_by(program),
            *(str(_of_site(path, include)) for path in means.command.reads),
        ],
        writable=[str(path) for path in own],
        guarded=bool(machine().landlock),
        namespaces=namespaces,
        # In a namespace the program's own are counted. Outside of one all of the user's are.
        threads=allowed if namespaces else allowed + threads_of_user(os.geteuid()) + NEIGHBOURS,
        limits=means.limits,
    )


def _environment(means: Settled) -> dict[str, str]:
    missing = [name for name in means.command.inherits if name not in os.environ]
    if missing:
        raise PermanentError(
            f"The program needs {', '.join(missing)}, which is not in Muster's environment.",
            remedy="Set it where Airflow's processes are started.",
        )
    return {**means.command.env, **{name: os.environ[name] for name in means.command.inherits}}


def _program(means: Settled, include: Path | None) -> list[str]:
    """The program and its arguments, with the paths that are meant.

    Raises:
        PermanentError: there is no such program.
    """
    first, *others = (str(_of_site(part, include)) if part.startswith("./") else part for part in means.command.program)
    found = shutil.which(first, path=PATH)
    if found is None:
        raise PermanentError(
            f"There is no program `{first}` on this machine.",
            remedy=f"Install it where it is found ({PATH}), or write its whole path.",
        )
    return [found, *others]


def _of_site(path: str, include: Path | None) -> Path:
    if not path.startswith("./"):
        return Path(path)
    if include is None:
        raise PermanentError(f"`{path}` is a file of the site, and it is not known where that is.")
    return include / path[2:]


def _read_by(program: Iterable[str]) -> list[str]:
    """What a program must read to begin: itself, what it was installed with, and files among its arguments."""
    first, *others = program
    paths = [Path(first), Path(os.path.realpath(first)), *(Path(each) for each in others if each.startswith("/"))]
    # What lies in a folder `bin` was installed with what lies beside that.
    installed = [
        path.parent.parent for path in paths[:2] if path.parent.name == "bin" and path.parent.parent != Path("/")
    ]
    return [str(path) for path in (*paths, *installed)]
