"""What Muster adds to Airflow: pages, JSON, and links from tasks to their events."""

from __future__ import annotations

from typing import Any

from airflow.plugins_manager import AirflowPlugin

from muster_airflow.api.lazy import LazyApp
from muster_airflow.links import AutomationLink, EventsLink


class MusterPlugin(AirflowPlugin):
    """Loaded from the plugins folder or by the wheel's entry point; Airflow takes it once, by its name."""

    name = "muster"
    fastapi_apps: list[Any] = [{"app": LazyApp(), "url_prefix": "/muster", "name": "Muster"}]
    external_views: list[Any] = [
        {
            "name": "Automations",
            "href": "/muster/",
            "destination": "nav",
            "category": "browse",
            "url_route": "muster-automations",
        },
        {
            "name": "Automation",
            "href": "/muster/automations/{DAG_ID}",
            "destination": "dag",
            "url_route": "muster-automation",
        },
        {
            "name": "Events",
            "href": "/muster/runs/{DAG_ID}/{RUN_ID}",
            "destination": "dag_run",
            "url_route": "muster-run",
        },
    ]
    operator_extra_links: list[Any] = [EventsLink(), AutomationLink()]
