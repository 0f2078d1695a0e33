"""What the page about the language says that an operator's step puts out is what comes of a real operator."""

from __future__ import annotations

import json
from datetime import UTC, datetime
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from muster.database import Database
from muster.language import examples
from muster.language.kinds import KINDS
from muster.local.airflow import connection_json
from muster_airflow.loading import load_automations
from support.runs import Site


@pytest.mark.parametrize("kind", [name for name, kind in KINDS.items() if kind.resolved.done_by == "airflow"])
def test_an_operator_puts_out_what_the_page_says(
    kind: str, tmp_path: Path, database: Database, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("AIRFLOW_CONN_MUSTER_DB", connection_json(dsn))
    monkeypatch.setenv("MUSTER_PROJECT", str(tmp_path))
    monkeypatch.setenv("MUSTER_STATE", str(tmp_path / "state"))
    site = Site(tmp_path, database)
    (site.include / "settings.yaml").write_text(examples.SETTINGS)
    definition = site.definition(examples.KINDS[kind])
    [step] = [step for step in definition.steps if step.kind == kind]
    run = site.open(definition)
    dags: dict[str, Any] = {}
    load_automations(dags, site.include)
    names = {"dag_id": definition.name, "run_id": run.partition("/")[2], "task_id": step.id, "map_index": -1}
    context = {
        "ti": SimpleNamespace(**names, try_number=1, max_tries=0, bundle_instance=None),
        "dag_run": SimpleNamespace(start_date=datetime.now(UTC)),
    }
    dags[definition.name].get_task(step.id).execute(context)
    assert site.state(run).step(step.id).whole.produced_by == "operator"
    assert site.state(run).step(step.id).output == json.loads(KINDS[kind].output_example)
