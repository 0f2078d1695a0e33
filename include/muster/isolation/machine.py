"""What this machine can hold a program to."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

from muster.errors import PermanentError
from muster.isolation import landlock

PATH = "/usr/local/bin:/usr/bin:/bin"
"""Where programs are looked for."""


class NotIsolated(PermanentError):
    """The machine cannot hold the program to what its definition demands, so it was not started."""


@dataclass(frozen=True)
class Machine:
    """What there is."""

    linux: bool
    root: bool
    namespaces: bool
    """True when processes can be given a world of their own: no other processes, no network."""
    landlock: int
    """The version of Landlock; 0 for none."""

    def unshare(self, *, network: bool) -> Sequence[str]:
        """The words before a program that give it namespaces of its own; empty where there are none."""
        if not self.namespaces:
            return ()
        # Root outside is nobody inside, and so gains no rights there; anybody else stays who they are.
        who = ("--map-user=65534", "--map-group=65534") if self.root else ("--map-current-user",)
        net = () if network else ("--net",)
        unshare = shutil.which("unshare", path=PATH) or "unshare"
        return (unshare, "--user", *who, "--pid", "--fork", "--kill-child", "--mount-proc", "--ipc", "--uts", *net)

    def ensure_holds(self, *, network: bool) -> None:
        """Check that a program can be held to its limits.

        Raises:
            NotIsolated: it cannot; the message says why.
        """
        if not self.linux:
            raise NotIsolated(
                "Programs are held to their limits by Linux only, and this is another system.",
                remedy="Run Muster on Linux, or in a container.",
            )
        if self.root and not (self.namespaces and self.landlock):
            raise NotIsolated(
                "Muster runs as root here, and a program that is root as well cannot be held to its limits without"
                " namespaces and Landlock.",
                remedy="Run Muster as another user, or write `isolation: docker`.",
            )
        if not network and not self.namespaces:
            raise NotIsolated(
                "This machine cannot keep a program from the network: it lets no user make namespaces.",
                remedy="Allow user namespaces, or write `isolation: docker`, or `network: any` if it may reach all.",
            )


@cache
def machine() -> Machine:
    """What this machine can do, found out by trying, once in a process."""
    linux = sys.platform == "linux" and hasattr(os, "pidfd_open") and hasattr(os, "memfd_create")
    root = linux and os.geteuid() == 0
    hoped = Machine(linux, root, True, landlock.version() if linux else 0)
    return Machine(linux, root, linux and _works([*hoped.unshare(network=False), "true"]), hoped.landlock)


def _works(program: Sequence[str]) -> bool:
    try:
        return not subprocess.run(program, capture_output=True, timeout=10, check=False).returncode
    except (OSError, subprocess.SubprocessError):
        return False
