"""What a definition says of an outside program: its arguments, where it works, and what it may use."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Literal

from pydantic import Field, ValidationError

from muster.errors import PermanentError
from muster.misfits import in_words, misfits
from muster.yaml_model import YamlModel

VariableName = Annotated[str, Field(pattern=r"^[A-Za-z_][A-Za-z0-9_]*$", max_length=100)]
"""The name of an environment variable."""
Argument = Annotated[str, Field(max_length=10_000, pattern=r"^[^\x00]*$")]
"""One argument of a program."""

Isolation = Literal["folder", "worktree", "docker"]
"""Where a program works."""
Keep = Literal["never", "on_failure", "always"]
"""When a workspace stays after the attempt."""


class CommandLimits(YamlModel):
    """Where a program is ended, with all that it has begun. They hold for all its processes together."""

    seconds: int | None = Field(default=None, ge=1, le=86_400)
    """Wall time; default: 600."""
    cpu_seconds: int | None = Field(default=None, ge=1, le=864_000)
    """Time on processors; default: 600."""
    memory_mb: int | None = Field(default=None, ge=16, le=1_048_576)
    """Memory in MiB; default: 1024."""
    processes: int | None = Field(default=None, ge=1, le=32_768)
    """Processes and threads at one time; default: 128."""
    disk_mb: int | None = Field(default=None, ge=1, le=1_048_576)
    """What its workspace takes on the disk, in MiB, and the largest file; default: 1024."""
    files: int | None = Field(default=None, ge=1, le=10_000_000)
    """Files and folders in its workspace; default: 20000."""
    output_kb: int | None = Field(default=None, ge=1, le=65_536)
    """What it may write to its standard output, in KiB; default: 1024."""


LIMITS = {
    "seconds": 600,
    "cpu_seconds": 600,
    "memory_mb": 1024,
    "processes": 128,
    "disk_mb": 1024,
    "files": 20_000,
    "output_kb": 1024,
}
"""What holds where nobody says anything."""


class Command(YamlModel):
    """An outside program that does the work of an agent: it reads a request as JSON and writes JSON lines."""

    program: list[Argument] = Field(min_length=1, max_length=200)
    """The program and its arguments, never a line for a shell. What begins with `./commands/` is a file of
    the site, in the folder `commands` beside `agents`."""
    isolation: Isolation | None = None
    """`folder`: an empty folder; `worktree`: a git worktree of `repository`; `docker`: an empty folder in a container
    of `image`. Default: `isolation` in the settings `commands`, else `folder`."""
    repository: str | None = Field(default=None, min_length=1, max_length=4096)
    """The git repository that a worktree is of: a folder on this machine."""
    ref: str = Field(default="HEAD", min_length=1, max_length=250)
    """What of the repository is checked out: a branch, a tag or a commit."""
    image: str | None = Field(default=None, min_length=1, max_length=250)
    """The image of the container."""
    network: Literal["none", "any"] | None = None
    """What it may reach: nothing, or everything. Default: `network` in the settings `commands`, else `none`."""
    inherits: list[VariableName] = []
    """Names of environment variables of Muster's that it is given. It sees no others of them."""
    env: dict[VariableName, str] = {}
    """Environment variables that it is given besides, with their values."""
    reads: list[Annotated[str, Field(pattern=r"^(/|\./)", max_length=4096)]] = []
    """Files and folders it may read besides those of the system and its own: absolute, or in `./commands/`."""
    keep: Keep | None = None
    """When its workspace is kept for people to look at. Default: `keep` in the settings `commands`, else `never`."""
    limits: CommandLimits | None = None
    """Where it is ended. Default: `limits` in the settings `commands`."""


class CommandDefaults(YamlModel):
    """`commands` in the settings of a site or an automation: what holds for programs that do not say it themselves."""

    isolation: Isolation = "folder"
    """Where they work."""
    image: str | None = Field(default=None, min_length=1, max_length=250)
    """The image of their containers."""
    network: Literal["none", "any"] = "none"
    """What they may reach."""
    keep: Keep = "never"
    """When their workspaces are kept."""
    limits: CommandLimits = CommandLimits()
    """Where they are ended."""


@dataclass(frozen=True)
class Settled:
    """What holds for one program: its own words, then the settings', then Muster's."""

    command: Command
    isolation: Isolation
    image: str | None
    network: bool
    """True when it may reach everything."""
    keep: Keep
    limits: Mapping[str, int]


def settled(command: Command, settings: Mapping[str, object]) -> Settled:
    """What holds for a program under an automation's settings.

    Raises:
        PermanentError: what the settings say under `commands` is not valid.
    """
    try:
        usual = CommandDefaults.model_validate(settings.get("commands") or {})
    except ValidationError as error:
        raise PermanentError(f"The setting `commands` is not valid: {'; '.join(misfits(error)[:5])}.") from error
    layers = (usual.limits, command.limits or CommandLimits())
    limits = dict(LIMITS)
    for layer in layers:
        limits |= layer.model_dump(exclude_none=True)
    return Settled(
        command=command,
        isolation=command.isolation or usual.isolation,
        image=command.image or usual.image,
        network=(command.network or usual.network) == "any",
        keep=command.keep or usual.keep,
        limits=limits,
    )


def wrong_commands(settings: Mapping[str, object]) -> Iterator[tuple[tuple[str, ...], str]]:
    """What is wrong with the setting `commands`: where, and what."""
    try:
        CommandDefaults.model_validate(settings.get("commands") or {})
    except ValidationError as error:
        for each in error.errors():
            yield ("commands", *map(str, each["loc"])), in_words(each)
