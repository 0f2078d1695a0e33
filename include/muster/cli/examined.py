"""What `muster doctor` looks at."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from functools import cached_property
from typing import TYPE_CHECKING, Self

from muster.cli.connections import airflow, airflow_elsewhere
from muster.errors import MusterError
from muster.local.project import Project
from muster.local.running import Running, find_running

if TYPE_CHECKING:
    from muster.language.folder import Catalogue
    from muster.local.client import AirflowClient


def named_database() -> str | None:
    """The database that the environment names."""
    return os.environ.get("MUSTER_DSN") or os.environ.get("DATABASE_URL")


class Examined:
    """The project, and what several checks ask of it: each is found out once."""

    def __init__(self, project: Project) -> None:
        self.project = project
        self._opened = ExitStack()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._opened.close()

    @cached_property
    def running(self) -> Running | None:
        """What runs here."""
        return find_running(self.project.state)

    @cached_property
    def dsn(self) -> str | None:
        """Muster's database; None when it is the embedded one and is not running."""
        return self.running.dsn if self.running else named_database()

    @cached_property
    def catalogue(self) -> Catalogue:
        """The automations."""
        from muster.language import load_folder

        return load_folder(self.project.include)

    @cached_property
    def airflow(self) -> AirflowClient | None:
        """Airflow, if it runs here or elsewhere and lets `admin` in."""
        if self.running is None and airflow_elsewhere() is None:
            return None
        with suppress(MusterError):
            return self._opened.enter_context(airflow("admin"))
        return None
