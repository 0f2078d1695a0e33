"""What a process may do with files, given up for good and for all that it begins: Landlock, which the kernel brings.

It needs no rights and no container. The numbers are those of the kernel's `include/uapi/linux/landlock.h`.
"""

from __future__ import annotations

import ctypes
import os
import stat
from collections.abc import Iterable
from contextlib import suppress
from functools import cache

_CREATE, _ADD, _RESTRICT = 444, 445, 446
_READ = 1 << 0 | 1 << 2 | 1 << 3  # execute, read a file, read a folder
_FILE = 1 << 0 | 1 << 1 | 1 << 2 | 1 << 14 | 1 << 15  # what there is to do with what is no folder
_ALL = {1: (1 << 13) - 1, 2: (1 << 14) - 1, 3: (1 << 15) - 1, 4: (1 << 15) - 1}
_LATER = (1 << 16) - 1
_SCOPES = 1 << 0 | 1 << 1  # abstract sockets, signals

DEVICES = ("/dev/null", "/dev/zero", "/dev/full", "/dev/random", "/dev/urandom", "/dev/tty")
"""Devices that every program may use."""
SYSTEM = (
    "/usr", "/bin", "/sbin", "/lib", "/lib32", "/lib64", "/libx32", "/proc", "/sys/devices/system/cpu",
    "/sys/fs/cgroup",
    *(f"/etc/{name}" for name in (
        "ssl", "ca-certificates", "pki", "crypto-policies", "resolv.conf", "hosts", "host.conf", "nsswitch.conf",
        "gai.conf", "services", "protocols", "passwd", "group", "localtime", "timezone", "ld.so.cache", "ld.so.conf",
        "ld.so.conf.d", "alternatives", "mime.types", "gitconfig", "locale.alias", "fonts", "python3", "os-release",
    )),
)  # fmt: skip
"""What every program may read: programs and libraries, and of the system's settings those that hold no secret."""


class _Ruleset(ctypes.Structure):
    _fields_ = (("fs", ctypes.c_uint64), ("net", ctypes.c_uint64), ("scoped", ctypes.c_uint64))


class _Beneath(ctypes.Structure):
    _pack_ = 1
    _fields_ = (("access", ctypes.c_uint64), ("folder", ctypes.c_int32))


@cache
def version() -> int:
    """The version of Landlock here; 0 when the kernel has none, or may not use it."""
    with suppress(OSError):
        return _call(_CREATE, None, 0, 1)
    return 0


def restrict(readable: Iterable[str], writable: Iterable[str]) -> None:
    """Let this process only read and execute what is below some paths, and change what is below others.

    It can signal nobody outside and connect to no abstract socket, where the kernel can hold that. Rights that a
    program brings are not gained any more (`processes.gain_nothing` comes first).

    Raises:
        OSError: the kernel does not do it.
    """
    known = version()
    handled = _ALL.get(known, _LATER)
    rules = _Ruleset(handled, 0, _SCOPES if known >= 6 else 0)
    size = 8 if known < 4 else 16 if known < 6 else 24
    ruleset = _call(_CREATE, ctypes.byref(rules), size, 0)
    try:
        for path in readable:
            _allow(ruleset, path, _READ & handled)
        for path in writable:
            _allow(ruleset, path, handled)
        for path in DEVICES:
            _allow(ruleset, path, (_FILE & ~1) & handled)
        _call(_RESTRICT, ruleset, 0)
    finally:
        os.close(ruleset)


def _allow(ruleset: int, path: str, access: int) -> None:
    try:
        number = os.open(path, os.O_PATH | os.O_CLOEXEC)
    except OSError:
        # What is not there, or cannot be reached, cannot be read either.
        return
    try:
        if not stat.S_ISDIR(os.fstat(number).st_mode):
            access &= _FILE
        rule = _Beneath(access, number)
        _call(_ADD, ruleset, 1, ctypes.byref(rule), 0)
    finally:
        os.close(number)


def _call(number: int, *arguments: object) -> int:
    libc = ctypes.CDLL(None, use_errno=True)
    given = [ctypes.c_long(each) if isinstance(each, int) else each for each in arguments]
    answer = int(libc.syscall(ctypes.c_long(number), *given))
    if answer < 0:
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return answer
