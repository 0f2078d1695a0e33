"""`muster pause` and `unpause`, and which automations are paused, in Airflow."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.cli.connections import airflow, airflow_elsewhere
from muster.cli.output import console, emit
from muster.errors import MusterError
from muster.local.project import find_project
from muster.local.running import find_running

if TYPE_CHECKING:
    from muster.local.client import AirflowClient


def pause(name: str, *, paused: bool, user: str, as_json: bool) -> None:
    """Pause an automation, or have it go on.

    Raises:
        MusterError: Airflow has no such automation, or this person may not.
    """
    with airflow(user) as client:
        if not client.pause(name, paused=paused):
            raise unknown(client, name)
    if as_json:
        emit({"automation": name, "paused": paused})
    elif paused:
        console().print(told_paused(name), markup=False)
    else:
        console().print(f"{name} goes on, with the runs that have waited.", markup=False)


def told_paused(name: str) -> str:
    """The sentence that an automation is paused, and what to do."""
    return f"{name} is paused: nothing of it begins until `muster unpause {name}`."


def unknown(client: AirflowClient, name: str) -> MusterError:
    """The error for a name of which Airflow has no automation."""
    from muster.language.problems import did_you_mean

    meant = did_you_mean(name, [str(dag["dag_id"]) for dag in client.dags()])
    return MusterError(
        f"Airflow has no automation {name!r}.",
        remedy=f"{meant or '`muster list` shows those there are.'} Airflow has a new one within 15 seconds.",
    )


def paused_ones(user: str = "admin") -> list[str] | None:
    """The automations that are paused, sorted; None when Airflow is not up or does not say."""
    if airflow_elsewhere() is None and find_running(find_project().state) is None:
        return None
    try:
        with airflow(user) as client:
            return client.paused()
    except MusterError:
        return None
