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
from muster.isolation import containers, landlock, worktrees
from muster.isolation.machine import PATH, machine
from muster.isolation.order import Order
from muster.isolation.processes import threads_of_user
from muster.isolation.running import MARK, to_its_end
from muster.isolation.spec import Settled
from muster.isolation.workspaces import Workspace, make
from muster.isolation.worktrees import Worktree

SLACK = 4
"""Processes that the system lets it have beyond its limit: two are Muster's own, and passing the limit must be seen."""
NEIGHBOURS = 256
"""Processes that others of the same user may begin meanwhile, where the system counts all of a user's together."""


@dataclass(frozen=True)
class Place:
    """A place that is ready."""

    work: Path
    order: Order
    agent: str
    worktree: Worktree | None = None

    async def finished(self, given: object) -> object:
        """What came of it, once the program has ended well: what the program gave.

        A mapping from a worktree says under `git` what was changed there, on which branch.

        Raises:
            PermanentError: what was changed cannot be committed.
        """
        if self.worktree is None:
            return given
        git = await asyncio.to_thread(self.worktree.commit, self.agent, f"What {self.agent} did")
        return {**given, "git": git} if isinstance(given, Mapping) else given


@asynccontextmanager
async def place_of(
    means: Settled, run_folder: Path, include: Path | None, identity: Mapping[str, Any]
) -> AsyncIterator[Place]:
    """A place for one attempt, as the body; cleared after it, unless it is to be kept.

    Raises:
        PermanentError: it cannot be made, or the machine cannot hold the program to what is demanded.
    """
    workspace, failed = await _made(means, run_folder, identity), True
    try:
        # To its end: a thread that went on would make a worktree of a workspace that is removed.
        yield await to_its_end(asyncio.to_thread(_place, means, workspace, include, str(identity["agent"])))
        failed = False
    finally:
        keep = means.keep == "always" or (failed and means.keep == "on_failure")
        await to_its_end(asyncio.to_thread(workspace.leave, keep=keep))


async def _made(means: Settled, run_folder: Path, identity: Mapping[str, Any]) -> Workspace:
    if means.isolation != "docker":
        (await asyncio.to_thread(machine)).ensure_holds(network=means.network)
    known = {name: identity[name] for name in ("run", "step", "index", "key")}
    repository = means.command.repository if means.isolation == "worktree" else None
    made = asyncio.ensure_future(
        asyncio.to_thread(make, run_folder, **known, repository=repository, contained=means.isolation == "docker")
    )
    try:
        return await asyncio.shield(made)
    except asyncio.CancelledError:
        # The thread goes on: what it makes would be nobody's.
        (await made).leave(keep=False)
        raise


def _place(means: Settled, workspace: Workspace, include: Path | None, agent: str) -> Place:
    environment = {**_environment(means), MARK: workspace.name}
    match means.isolation:
        case "docker":
            return Place(workspace.work, _contained(means, workspace, environment, include), agent)
        case "worktree":
            assert means.command.repository is not None
            tree = worktrees.add(means.command.repository, means.command.ref, workspace.work, workspace.plain_name)
            # Another user may own it, and git then wants to be told that it is meant.
            safe = {"GIT_CONFIG_COUNT": "1", "GIT_CONFIG_KEY_0": "safe.directory", "GIT_CONFIG_VALUE_0": "*"}
            order = _order(means, workspace, {**safe, **environment}, include, [means.command.repository])
            return Place(workspace.work, order, agent, tree)
        case _:
            return Place(workspace.work, _order(means, workspace, environment, include), agent)


def _order(
    means: Settled,
    workspace: Workspace,
    environment: Mapping[str, str],
    include: Path | None,
    more: Iterable[str] = (),
) -> Order:
    namespaces = machine().unshare(network=means.network)
    allowed = means.limits["processes"] + SLACK
    program = _program(means, include)
    reads = (str(_of_site(each, include)) for each in means.command.reads)
    return Order(
        program=program,
        environment={"PATH": PATH, "HOME": str(workspace.home), **_usual(workspace), **environment},
        folder=str(workspace.work),
        measured=str(workspace.folder),
        readable=[*landlock.SYSTEM, *_read_by(program), *reads, *more],
        writable=_own(workspace),
        guarded=bool(machine().landlock),
        namespaces=namespaces,
        # In a namespace the program's own are counted. Outside of one all of the user's are.
        threads=allowed if namespaces else allowed + threads_of_user(os.geteuid()) + NEIGHBOURS,
        limits=means.limits,
    )


def _contained(means: Settled, workspace: Workspace, environment: Mapping[str, str], include: Path | None) -> Order:
    """The order for a program in a container: what is run here is Docker's client."""
    if means.image is None:
        raise PermanentError("The program wants a container, and no `image` is named.", remedy="Write `image`.")
    docker, name = containers.find_docker(), workspace.plain_name
    inside = {"HOME": str(workspace.home), **_usual(workspace), **environment}
    program = [str(_of_site(part, include)) if part.startswith("./") else part for part in means.command.program]
    files = [part for part in program if include is not None and part.startswith(f"{include}/")]
    words = containers.command_of(
        docker,
        name,
        means.image,
        program,
        writable=_own(workspace),
        readable=containers.readable_of([*files, *(str(_of_site(each, include)) for each in means.command.reads)]),
        folder=str(workspace.work),
        environment=inside,
        limits=means.limits,
        network=means.network,
    )
    client = {"PATH": PATH, **{each: os.environ[each] for each in _CLIENT if each in os.environ}, **inside}
    return Order(
        program=words,
        environment={**client, "HOME": os.environ.get("HOME", "/")},
        folder=str(workspace.work),
        measured=str(workspace.folder),
        guarded=False,
        contained=True,
        at_end=containers.removal_of(docker, name),
        limits=means.limits,
    )


_CLIENT = ("DOCKER_HOST", "DOCKER_CONFIG", "DOCKER_CONTEXT", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH")


def _usual(workspace: Workspace) -> dict[str, str]:
    return {"TMPDIR": str(workspace.temporary), "LANG": "C.UTF-8"}


def _own(workspace: Workspace) -> list[str]:
    return [str(path) for path in (workspace.work, workspace.temporary, workspace.home)]


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
