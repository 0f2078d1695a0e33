"""Where things are: the project a person works in, and the folder that holds its state."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from muster.errors import MusterError
from muster.files import nearest_project


@dataclass(frozen=True)
class Project:
    """A folder with `include/automations`, and the state folder beside it."""

    root: Path
    state: Path
    """Secrets, logs, artifacts and (unless root runs it) the database; 0700."""

    @property
    def include(self) -> Path:
        """Automations, agents and the site's own skills."""
        return self.root / "include"

    @property
    def site_skills(self) -> Path:
        """The site's own skills."""
        return self.include / "skills"

    @property
    def dags(self) -> Path:
        """The Dag folder."""
        return self.root / "dags"

    @property
    def plugins(self) -> Path:
        """Airflow's plugins folder."""
        return self.root / "plugins"

    @property
    def airflow_home(self) -> Path:
        """AIRFLOW_HOME."""
        return self.state / "airflow"

    @property
    def logs(self) -> Path:
        """One log file for each process."""
        return self.state / "logs"

    @property
    def artifacts(self) -> Path:
        """Files that runs produce."""
        return self.state / "artifacts"

    def make_state(self) -> None:
        """Make the state folder and what is in it, closed to everybody else."""
        try:
            self.state.mkdir(parents=True, exist_ok=True)
            self.state.chmod(0o700)
            for folder in (self.airflow_home, self.logs, self.artifacts):
                folder.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise MusterError(
                f"The state folder {self.state} cannot be written: {error.strerror}.",
                remedy="Give this account write access, or name another folder with MUSTER_STATE.",
            ) from error


def find_project(start: Path | None = None) -> Project:
    """The project `start` (default: the working directory) lies in; MUSTER_PROJECT, MUSTER_STATE win.

    Raises:
        MusterError: no folder from here up to the root holds `include/automations`.
    """
    named = os.environ.get("MUSTER_PROJECT")
    here = Path(named or start or Path.cwd()).resolve()
    folder = nearest_project(here)
    # A folder that MUSTER_PROJECT names has to be the project itself; one above it is not what was asked for.
    if folder is not None and (folder == here or not named):
        return Project(folder, Path(os.environ.get("MUSTER_STATE") or folder / ".muster").resolve())
    raise MusterError(
        f"{here} is not inside a Muster project: no `include/automations` is there or above it.",
        remedy="Go to the project's folder, set MUSTER_PROJECT, or begin a project: `mkdir -p include/automations`.",
    )
