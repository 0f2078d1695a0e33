"""Secrets made once for each project and kept in its state folder, readable by their owner only."""

from __future__ import annotations

import base64
import fcntl
import json
import os
import secrets
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from muster.errors import MusterError
from muster.files import sync_folder

ROLES = ("viewer", "user", "op", "admin")
"""What Airflow's simple auth manager knows, weakest first."""
FIRST_LOGINS = {"admin": "admin", "finance-lead": "user"}
"""Logins that every project starts with: an administrator, and the approver of the shipped automation."""


@dataclass(frozen=True)
class Login:
    """A person who can sign in to Airflow."""

    role: str
    password: str = field(repr=False)
    added: bool = False
    """True when a command has added it, which lasts: the others are those that MUSTER_USERS names at a start."""


@dataclass(frozen=True)
class Credentials:
    """Everything secret that one project needs."""

    identity: str
    """Names this project on this machine."""
    fernet_key: str = field(repr=False)
    """Encrypts connections and variables in Airflow's database: 32 bytes, URL-safe Base64."""
    jwt_secret: str = field(repr=False)
    """Signs Airflow's tokens: 64 bytes, Base64."""
    api_secret: str = field(repr=False)
    database_passwords: dict[str, str] = field(repr=False)
    """By role: `postgres`, `airflow`, `muster`."""
    logins: dict[str, Login]

    @property
    def admin(self) -> Login:
        """The login that may do everything."""
        return self.logins["admin"]


def credentials_file(state: Path) -> Path:
    """Where they are kept."""
    return state / "credentials.json"


@contextmanager
def alone(state: Path) -> Iterator[None]:
    """Hold the lock on the credentials; other processes that make or change them wait.

    Call `renew_logins`, `add_login` and `remove_login` within it. They take no lock themselves, because a second
    `flock` of the file would wait for the first one, also in the same process.
    """
    with (state / "credentials.lock").open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        yield


def load_credentials(state: Path) -> Credentials:
    """The project's credentials as it was started with them last, made at first use.

    Raises:
        MusterError: the file is damaged, or, at first use, MUSTER_USERS is not understood.
    """
    path = credentials_file(state)
    if path.exists():
        return _read(path)
    with alone(state):
        # Looked for again under the lock: the process that held it before may have made the credentials, and data may
        # be encrypted with their keys by now.
        return _as_they_are(state)


def renew_logins(state: Path) -> Credentials:
    """The project's credentials with the logins that MUSTER_USERS (`name:role,name:role`) gives, those that a command
    has added, and no others.

    Whoever stays keeps the password. Where a login or a role was taken away nobody stays signed in: Airflow takes the
    role from a token that it signed before.

    Raises:
        MusterError: the file is damaged, or MUSTER_USERS is not understood.
    """
    path = credentials_file(state)
    known = _read(path) if path.exists() else _new()
    named = _wanted_logins()
    added = {name: login.role for name, login in known.logins.items() if login.added and name not in named}
    wanted = named | added
    given = {name: login.role for name, login in known.logins.items()}
    if wanted == given:
        return known
    passwords = {name: login.password for name, login in known.logins.items()}
    logins = {
        name: Login(role, passwords.get(name) or secrets.token_urlsafe(12), added=name in added)
        for name, role in wanted.items()
    }
    # A new secret makes every token invalid and signs everybody out. Needed only where a login or a role was taken
    # away: the tokens that were signed before still name it.
    jwt_secret = known.jwt_secret if given.items() <= wanted.items() else _jwt_secret()
    return _written(state, replace(known, logins=logins, jwt_secret=jwt_secret))


def added_logins(state: Path) -> dict[str, Login]:
    """The logins that a command has added, by name."""
    path = credentials_file(state)
    return {name: login for name, login in _read(path).logins.items() if login.added} if path.exists() else {}


def add_login(state: Path, name: str, role: str) -> Credentials:
    """The project's credentials with one more login.

    Raises:
        MusterError: the name is not valid, or somebody has it already.
    """
    known = _as_they_are(state)
    if not name.strip() or any(char in name for char in ",:|") or any(char.isspace() for char in name):
        raise MusterError(f"{name!r} is no user name.", remedy="Use one word without commas and colons.")
    if (there := known.logins.get(name)) is not None:
        raise MusterError(
            f"{name} has a login already, with the role {there.role}.",
            remedy=f"For another role, remove it first with `muster users remove {name}`."
            if there.added
            else f"For another role, start with MUSTER_USERS={name}:op, for example.",
        )
    login = Login(role, secrets.token_urlsafe(12), added=True)
    return _written(state, replace(known, logins={**known.logins, name: login}))


def remove_login(state: Path, name: str) -> Credentials:
    """The project's credentials without a login that was added; from the next start on nobody stays signed in.

    Raises:
        MusterError: it was not added.
    """
    known = _as_they_are(state)
    if name not in known.logins or not known.logins[name].added:
        raise MusterError(
            f"{name} was not added by `muster users add`.",
            remedy="`muster users` lists who was; the others are `admin`, `finance-lead` and those in MUSTER_USERS.",
        )
    left = {other: login for other, login in known.logins.items() if other != name}
    return _written(state, replace(known, logins=left, jwt_secret=_jwt_secret()))


def _as_they_are(state: Path) -> Credentials:
    path = credentials_file(state)
    return _read(path) if path.exists() else renew_logins(state)


def _written(state: Path, credentials: Credentials) -> Credentials:
    write_secret(credentials_file(state), json.dumps(asdict(credentials), indent=2))
    return credentials


def write_secret(path: Path, text: str) -> None:
    """Write a file that only its owner can read, whole or not at all."""
    # Written beside the file and then renamed: a reader, or a crash, meets the whole old file or the whole new one. The
    # name is random and not the process id, because processes in two containers may have the same id.
    descriptor, partial = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            # On disk before the rename: else a power failure may leave the name on an empty file, and the keys are
            # lost.
            file.flush()
            os.fsync(file.fileno())
        Path(partial).replace(path)
    except BaseException:
        Path(partial).unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def _new() -> Credentials:
    return Credentials(
        identity=secrets.token_hex(6),
        fernet_key=base64.urlsafe_b64encode(secrets.token_bytes(32)).decode(),
        jwt_secret=_jwt_secret(),
        api_secret=secrets.token_urlsafe(32),
        database_passwords={role: secrets.token_urlsafe(24) for role in ("postgres", "airflow", "muster")},
        logins={},
    )


def _jwt_secret() -> str:
    return base64.b64encode(secrets.token_bytes(64)).decode()


def _read(path: Path) -> Credentials:
    try:
        raw = json.loads(path.read_text())
        logins = {name: Login(**login) for name, login in raw.pop("logins").items()}
        return Credentials(**raw, logins=logins)
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise MusterError(
            f"{path} is damaged, so the keys of this project's data are unreadable.",
            remedy="Restore it from a backup, or remove the state folder to start without the old data.",
        ) from error
    except OSError as error:
        raise MusterError(
            f"{path} cannot be read: {error.strerror}.", remedy="Use the account that started Muster first."
        ) from error


def _wanted_logins() -> dict[str, str]:
    wanted = dict(FIRST_LOGINS)
    for entry in filter(None, (part.strip() for part in os.environ.get("MUSTER_USERS", "").split(","))):
        name, _, role = entry.partition(":")
        if not name or (role or "user") not in ROLES:
            raise MusterError(
                f"MUSTER_USERS has the entry {entry!r}, which is not `name:role`.",
                remedy=f"Roles are {', '.join(ROLES)}.",
            )
        wanted[name] = role or "user"
    return wanted
