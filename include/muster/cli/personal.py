"""`muster forget`: a person's data in the log becomes unreadable for good."""

from __future__ import annotations

import os
from contextlib import closing
from functools import partial
from pathlib import Path

import typer

from muster.cli.connections import open_database
from muster.cli.output import console, counted, emit, messages
from muster.events.personal import Vault, load_master
from muster.local.project import find_project
from muster.operations.forgetting import find_subject, forget


def forget_subject(subject: str, *, yes: bool, user: str, as_json: bool) -> None:
    """Ask, unless `yes`; then throw the person's key away and say what became unreadable, or what had come since."""
    project = find_project()
    artifacts = Path(named) if (named := os.environ.get("MUSTER_ARTIFACTS")) else project.artifacts
    vault = Vault(partial(load_master, project.state))
    with closing(open_database()) as database:
        find_subject(database, vault, subject)
        if not yes:
            typer.confirm(f"Forget {subject}? Nothing brings the data back.", abort=True, err=True)
        done = forget(database, vault, subject, by=user, artifacts=artifacts)
    if as_json:
        emit(
            {
                "subject": done.subject,
                "runs": done.runs,
                "notices": done.notices,
                "unsent": done.unsent,
                "folders": done.folders,
                "forgotten_before": done.before.isoformat() if done.before is not None else None,
                "by": user,
            }
        )
        return
    if done.before is not None:
        console().print(
            f"{subject} was forgotten on {done.before:%Y-%m-%d} at {done.before:%H:%M %Z}. What had come since of"
            f" {counted(done.runs, 'run')} was removed: {counted(done.notices, 'text')} of notices,"
            f" {counted(done.folders, 'folder')} of files."
        )
        return
    runs = counted(done.runs, "run")
    console().print(f"{subject} is forgotten: the personal data of {runs} cannot be read any more.")
    messages().print(
        f"{counted(done.unsent, 'notice')} still to be sent are not. What has left Muster stays where it is: messages"
        " that were sent, tables that skills wrote, and in Airflow the trigger form's values and the text of questions,"
        " until these runs are deleted there. An attempt that was under way may still leave files: once it has ended,"
        " repeat this command.",
        style="dim",
    )
