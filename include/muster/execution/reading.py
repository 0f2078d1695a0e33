"""Which files a run may read: those its automation names, its own, and those of the runs that it asked for."""

from __future__ import annotations

from dataclasses import replace

from muster.documents import Documents, Workspaces
from muster.events.sealing import AND
from muster.execution.services import Services, readable, workspace_of
from muster.execution.view import RunView


def documents_of_run(services: Services, view: RunView) -> Documents:
    """The files that a work item of a run may read.

    The name of a run's folder follows from its id, which others may know, so what is allowed is a list and no secret.

    Raises:
        PermanentError: a setting does not say what it should.
    """

    def may_read(folder: str) -> bool:
        run = view.workspaces.get(folder)
        return run is not None and _is_its(services, folder, run) and _is_given(services, run, view.id)

    found = readable(view.definition, services.readable)
    return replace(found, workspaces=Workspaces(services.artifacts, may_read))


def _is_its(services: Services, folder: str, run: str) -> bool:
    """True unless it is a folder as runs had them before, and this run is a later one."""
    return folder == workspace_of(services.artifacts, run).name or services.queries.is_from_before_server_epochs(run)


def _is_given(services: Services, run: str, to: str) -> bool:
    """True unless a run is about somebody whom the one that reads is not about: its log would keep their data."""
    return run == to or is_about_no_others(services.log.subject(run), services.log.subject(to))


def is_about_no_others(subject: str | None, reader: str | None) -> bool:
    """True when everybody whom a run is about is somebody whom the run that is given its data is about as well."""
    return {*(subject or "").split(AND)} <= {*(reader or "").split(AND), ""}
