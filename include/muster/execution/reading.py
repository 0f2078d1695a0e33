"""Which files a run may read: those its automation names, its own, and those of the runs that it asked for."""

from __future__ import annotations

from dataclasses import replace

from muster.documents import Documents, Workspaces
from muster.events.sealing import AND
from muster.execution.services import Services
from muster.execution.view import RunView
from muster.execution.workspaces import readable, workspace_of


def documents_of_run(services: Services, view: RunView) -> Documents:
    """The files that a work item of a run may read.

    Raises:
        PermanentError: a setting that names files is not valid; the step fails.
    """
    # A list of allowed runs, because the name of a folder protects nothing: it follows from the run's id, which others
    # may know.

    def may_read(folder: str) -> bool:
        run = view.workspaces.get(folder)
        return run is not None and _is_its(services, folder, run) and _is_given(services, run, view.id)

    documents = readable(view.definition, services.readable)
    return replace(documents, workspaces=Workspaces(services.artifacts, may_read))


def _is_its(services: Services, folder: str, run: str) -> bool:
    """True for the run's folder of today; for a folder in the old naming only if the run is that old."""
    return folder == workspace_of(services.artifacts, run).name or services.queries.is_from_before_server_epochs(run)


def _is_given(services: Services, run: str, to: str) -> bool:
    """True unless the run is about a person whom the reading run is not about: its log would keep their data."""
    return run == to or is_about_no_others(services.log.subject(run), services.log.subject(to))


def is_about_no_others(subject: str | None, reader: str | None) -> bool:
    """True when the reading run is about everybody whom the other run is about."""
    return {*(subject or "").split(AND)} <= {*(reader or "").split(AND), ""}
