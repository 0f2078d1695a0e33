"""`muster audit`: a run's complete trail, signed for machines and readable for people."""

from __future__ import annotations

import re
from contextlib import closing
from dataclasses import asdict
from hashlib import sha256
from pathlib import Path

import typer

from muster.cli.connections import open_database
from muster.cli.log import stream_of
from muster.cli.output import Exit, console, counted, emit
from muster.errors import MusterError
from muster.events.audit import check, trail, write
from muster.events.checkpoints import CHECKPOINTS, verify
from muster.events.report import page
from muster.events.signing import KEY, Signer, fingerprint
from muster.local.project import find_project

PUBLIC = "audit-key.pub.pem"
"""The public key beside the exported files."""


def export(id: str, out: Path, *, as_json: bool) -> None:
    """Write a run's trail as signed JSON lines and as HTML, and the public key beside them."""
    state = find_project().state
    with closing(open_database()) as database:
        stream = stream_of(database, id)
        faults = verify(database, state / CHECKPOINTS, stream).faults
        fault = "; ".join(breach.message for breach in faults) or None
        signer = Signer(state)
        try:
            out.mkdir(parents=True, exist_ok=True)
            name = file_name(stream)
            lines = write(trail(database, stream, fault), out / f"{name}.jsonl", signer)
            with (out / f"{name}.html").open("w", encoding="utf-8") as file:
                file.writelines(page(lines, fingerprint(signer.public)))
            (out / PUBLIC).write_text(signer.public)
        except OSError as error:
            raise MusterError(
                f"The trail cannot be written to {out}: {error.strerror}.", remedy="Name a folder with --out."
            ) from error
    files = [str(out / part) for part in (f"{name}.jsonl", f"{name}.html", PUBLIC)]
    if as_json:
        emit({"run": stream, "files": files, "fault": fault, "key": fingerprint(signer.public)})
    else:
        for path in files:
            console().print(path, markup=False)
        if fault:
            console().print(f"The log does not verify, and the trail says so: {fault}", style="red", markup=False)
    if fault:
        raise typer.Exit(Exit.FAILED)


def check_file(path: Path, key: Path | None, *, as_json: bool) -> None:
    """Check an exported trail against a public key: the one named, else this project's, else the one beside it."""
    pem, whose = _public_key(path, key)
    checked = check(path, pem)
    if as_json:
        emit({**asdict(checked), "key": whose})
    elif checked.faults:
        for fault in checked.faults:
            console().print(f"✗ {fault}", style="red", markup=False)
    else:
        console().print(f"{counted(checked.events, 'event')} of {checked.run}: as they were signed.", markup=False)
        console().print(f"Key {checked.signed_by}, {whose}.", markup=False)
    if checked.faults:
        raise typer.Exit(Exit.FAILED)


def file_name(stream: str) -> str:
    """A name for the files of a run: unlike any other run's, also where file names cannot hold all of its id."""
    plain = re.sub(r"[^A-Za-z0-9.-]+", "_", stream).strip("._")[:100]
    return f"{plain or 'run'}.{sha256(stream.encode()).hexdigest()[:8]}"


def _public_key(path: Path, named: Path | None) -> tuple[str, str]:
    """The public key to check the file `path` with, and whose it is."""
    if named is None:
        try:
            state = find_project().state
            if (state / KEY).exists():
                return Signer(state).public, "this project's own"
        except MusterError:
            pass
    beside = named or path.parent / PUBLIC
    try:
        return beside.read_text(), f"from {beside}: compare it with what its owner tells you"
    except (OSError, UnicodeDecodeError) as error:
        raise MusterError(f"There is no public key in {beside}.", remedy="Name it with --key.") from error
