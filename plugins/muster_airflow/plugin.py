"""What Muster adds to Airflow: pages, JSON, and links from tasks to their events."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from airflow.plugins_manager import AirflowPlugin

from muster_airflow.api.lazy import LazyApp
from muster_airflow.preloading import preload


class MusterPlugin(AirflowPlugin):
    """Loaded from the plugins folder or by the wheel's entry point; Airflow takes it once, by its name.

    The addresses of the views are relative, so that they hold wherever `[api] base_url` puts Airflow.
    """

    name = "muster"
    external_views: list[Any] = [
        {
            "name": "Automations",
            "href": "muster/",
            "destination": "nav",
            "category": "browse",
            "url_route": "muster-automations",
        },
        {
            "name": "Automation",
            "href": "muster/automations/{DAG_ID}",
            "destination": "dag",
            "url_route": "muster-automation",
        },
        {
            "name": "Events",
            "href": "muster/runs/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "muster-run",
        },
        {
            "name": "Events",
            "href": "muster/runs/{DAG_ID}/{RUN_ID}?task={TASK_ID}&slot={MAP_INDEX}",
            "destination": "task_instance",
            "url_route": "muster-task",
        },
    ]

    @classmethod
    def on_load(cls, *args: Any, **kwargs: Any) -> None:
        """Airflow calls it in every process; only a triggerer preloads anything."""
        # Not a listener of the triggerer's start: where any listener is registered, Airflow refuses Dags with operators
        # that end in the triggerer (`end_from_trigger`), also those of others.
        preload()

    @cached_property
    def fastapi_apps(self) -> list[Any]:  # type: ignore[override]
        """Asked for by the API server alone, which takes people's answers."""
        from muster_airflow import answers, people

        answers.listen()
        people.listen()
        return [{"app": LazyApp(), "url_prefix": "/muster", "name": "Muster"}]

    @cached_property
    def fastapi_root_middlewares(self) -> list[Any]:  # type: ignore[override]
        """Asked for by the API server alone, where people sign in."""
        from muster_airflow.logins import Logins

        return [{"middleware": Logins, "name": "Muster's logins"}]

    @cached_property
    def timetables(self) -> list[Any]:  # type: ignore[override]
        """Asked for where the Dags of automations with a schedule are read or stored."""
        from muster_airflow.timetables import ScheduleSince

        return [ScheduleSince]

    @cached_property
    def operator_extra_links(self) -> list[Any]:  # type: ignore[override]
        """Made when asked for: every process loads plugins, and only the API server needs all operators for it."""
        from muster_airflow.links import AutomationLink, ChildLink, EventsLink

        return [EventsLink(), AutomationLink(), ChildLink()]
