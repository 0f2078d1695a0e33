"""Begins a program with what it may use, and ends all of it with its supervisor: the first process of its namespace.

`python -m muster.isolation.launcher ORDER LIFE STATUS HELD`: numbers of open files. It lives as long as the program,
reaps what falls to it, and kills everything below it once LIFE ends, which is when the supervisor does.
"""

from __future__ import annotations

import json
import os
import resource
import select
import sys
from contextlib import suppress

from muster.isolation import landlock
from muster.isolation.order import Order
from muster.isolation.processes import become_subreaper, gain_nothing, kill_below, reap_children

MOST_OPEN = 1024
"""Files that one process may have open."""


def main(order: int, life: int, status: int, held: int) -> None:
    """Run the program, and tell how it ended."""
    # It is not killed with its supervisor: without a namespace it has to kill the rest first.
    become_subreaper()
    # `held` is kept open by being here: whoever reads at its other end learns when this process is gone.
    for number in (order, life, status, held):
        os.set_inheritable(number, False)
    wanted = Order.read(order)
    failed, fails = os.pipe()
    pid = os.fork()
    if not pid:
        _become(wanted, fails)
    os.close(fails)
    quiet = os.open(os.devnull, os.O_RDWR)
    for number in (0, 1, 2):
        os.dup2(quiet, number)
    with os.fdopen(failed, "rb") as told:
        if wrong := told.read(4096):
            _tell(status, {"error": wrong.decode(errors="replace")})
            return
    _tell(status, {"code": _wait(pid, life)})


def _wait(pid: int, life: int) -> int | None:
    """The exit code of the program; None when the supervisor is gone."""
    ended = os.pidfd_open(pid)
    while True:
        ready, _, _ = select.select([ended, life], [], [], 0.2)
        if ended in ready:
            code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
            kill_below(os.getpid(), reap=reap_children)
            return code
        if life in ready:
            kill_below(os.getpid(), reap=reap_children)
            return None
        _reap_others(pid)


def _reap_others(pid: int) -> None:
    with suppress(ChildProcessError):
        while True:
            found = os.waitid(os.P_ALL, 0, os.WEXITED | os.WNOHANG | os.WNOWAIT)
            if found is None or found.si_pid == pid:
                return
            os.waitpid(found.si_pid, 0)


def _become(order: Order, fails: int) -> None:
    """Turn into the program; never returns."""
    try:
        os.setsid()
        os.chdir(order.folder)
        if not order.contained:
            _limit(order)
        gain_nothing()
        if order.guarded:
            landlock.restrict(order.readable, order.writable)
        os.execve(order.program[0], list(order.program), dict(order.environment))  # noqa: S606 - no shell is meant
    except BaseException as error:
        os.write(fails, f"{type(error).__name__}: {error}".encode()[:4000])
    finally:
        os._exit(127)


def _limit(order: Order) -> None:
    limits = order.limits
    mb = 1024 * 1024
    wanted = {
        resource.RLIMIT_CORE: 0,
        resource.RLIMIT_NOFILE: MOST_OPEN,
        resource.RLIMIT_FSIZE: limits["disk_mb"] * mb,
        # The system ends each process at what all of them may use together; the supervisor adds them up.
        resource.RLIMIT_DATA: limits["memory_mb"] * mb,
        resource.RLIMIT_CPU: limits["cpu_seconds"] + 1,
    }
    if order.threads:
        wanted[resource.RLIMIT_NPROC] = order.threads
    for kind, most in wanted.items():
        _, hard = resource.getrlimit(kind)
        least = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (least, least))


def _tell(status: int, said: dict[str, object]) -> None:
    with suppress(OSError):
        os.write(status, json.dumps(said).encode())


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
