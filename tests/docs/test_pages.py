"""The page about Muster's pages names every place where Airflow's UI shows one, and what stands on it."""

from __future__ import annotations

import re

from muster_airflow.api import pages as served
from muster_airflow.api.rendering import environment
from muster_airflow.links import AutomationLink, ChildLink, EventsLink
from muster_airflow.plugin import MusterPlugin
from muster_airflow.reference import UNWIND
from support.documents import ROOT

PAGE = (ROOT / "docs" / "pages.md").read_text(encoding="utf-8")
PLACES = {
    "nav": "in the navigation, under Browse",
    "dag": "on the page of a Dag, as a tab",
    "dag_run": "on the page of a run of a Dag, as a tab",
    "task_instance": "on the page of a task instance, as a tab",
}
"""What the page calls Airflow's destinations."""


def test_each_view_of_the_plugin_is_in_the_table_with_its_place_and_address() -> None:
    rows = re.findall(r"^\| \[(\w+)\]\(#[\w-]+\) \| ([^|]+) \| `/([^|`]+)` \|$", PAGE, re.MULTILINE)
    views = [
        (view["name"], PLACES[view["destination"]], shown(view["href"].removesuffix("&slot={MAP_INDEX}")))
        for view in MusterPlugin.external_views
    ]
    assert rows == views


def shown(address: str) -> str:
    """An address as people write it."""
    return address.replace("{DAG_ID}", "{dag}").replace("{RUN_ID}", "{run}").replace("{TASK_ID}", "{task}")


def test_each_link_of_a_task_is_in_the_table() -> None:
    links = {link.name for link in (EventsLink(), AutomationLink(), ChildLink())}
    assert set(re.findall(r"^\| `(\w[\w ]*)` \| ", PAGE, re.MULTILINE)) == links


def test_the_numbers_and_names_on_the_page_are_those_of_the_code() -> None:
    assert f"{served.EVENTS_SHOWN} events on a page" in PAGE
    assert f"its last {served.RUNS_SHOWN} runs" in PAGE
    assert f"the task group `{UNWIND}`" in PAGE


def test_what_a_run_page_is_divided_into_is_on_the_page() -> None:
    loader = environment().loader
    assert loader is not None
    source, _, _ = loader.get_source(environment(), "run.html")
    parts = {*re.findall(r"<h2>(\w+)</h2>", source), *re.findall(r">(\w+)</a>\n", source)}
    assert parts == {"Steps", "Events", "Automation"}
    assert parts == set(re.findall(r"^- \*\*(\w+)\*\*", PAGE, re.MULTILINE))
