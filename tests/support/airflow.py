"""A running Airflow, and how tests talk to it."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import psycopg

from muster.database import Database
from muster.events.log import EventLog
from muster.events.queries import Queries
from muster.local.client import AirflowClient, Unreachable
from muster.local.stack import Stack

PATIENCE = 300.0
"""Seconds until a wait gives up: generous, because machines differ; no test measures time."""


class Airflow:
    """A running stack, and how tests talk to it."""

    def __init__(self, stack: Stack) -> None:
        self.stack = stack
        self.project = stack.project.root
        self.client: AirflowClient = stack.client("admin")
        self.lead: AirflowClient = stack.client("finance-lead")
        self.database = Database(stack.dsn)
        self.log = EventLog(self.database)
        self.queries = Queries(self.database)

    def automation(self, name: str, source: str) -> Path:
        """Write an automation into the running project and wait until Airflow has its Dag."""
        path = self.project / "include" / "automations" / "tests" / f"{name}.yaml"
        path.parent.mkdir(exist_ok=True)
        path.write_text(source)
        self.until(f"the Dag {name}", lambda: self.client.dag(name))
        return path

    def start(self, dag_id: str, run_id: str, **inputs: Any) -> str:
        """Trigger a run by REST and return its id in the log."""
        self.client.trigger(dag_id, run_id=run_id, conf=inputs)
        return f"{dag_id}/{run_id}"

    def finish(self, run: str) -> str:
        """Wait for Airflow's verdict on a run; an API server that is being started anew is asked again."""
        dag_id, _, run_id = run.partition("/")

        def state() -> str | None:
            try:
                found = (self.client.run(dag_id, run_id) or {}).get("state")
            except Unreachable:
                return None
            return found if found in ("success", "failed") else None

        ended: str = self.until(f"the end of {run}", state)
        return ended

    def waiting(self, run: str, step: str) -> list[dict[str, Any]]:
        """The questions a run has put to people, once there is one that may be answered."""
        dag_id, _, run_id = run.partition("/")

        def asked() -> list[dict[str, Any]]:
            return [
                detail
                for detail in self.client.approvals(dag_id, run_id)
                if detail["task_instance"]["task_id"] == step and detail["task_instance"]["state"] == "awaiting_input"
            ]

        found: list[dict[str, Any]] = self.until(f"a question of {run}", asked)
        return found

    def until(self, what: str, look: Callable[[], Any]) -> Any:
        """Wait until `look` finds something."""
        deadline = time.monotonic() + PATIENCE
        while not (found := look()):
            assert time.monotonic() < deadline, f"waited {PATIENCE:.0f} s for {what}"
            time.sleep(0.5)
        return found

    def types(self, run: str) -> list[str]:
        """The types of a run's events, in order."""
        return [event.type for event in self.log.read(run)]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Run `muster` against this Airflow."""
        place = {
            "MUSTER_DSN": self.stack.dsn,
            "AIRFLOW_URL": str(self.client._http.base_url),
            "MUSTER_PASSWORD": self.client._password,
        }
        return subprocess.run(
            [sys.executable, "-m", "muster.cli", *arguments],
            cwd=self.project,
            env=os.environ | place,
            text=True,
            capture_output=True,
            check=False,
        )

    def sql(self, statement: str, *parameters: Any) -> list[tuple[Any, ...]]:
        """Ask Muster's database."""
        with psycopg.connect(self.stack.dsn) as connection:
            return connection.execute(statement, parameters).fetchall()

    def answer(self, question: dict[str, Any], option: str = "Approve", *, by: str = "finance-lead") -> None:
        """Answer as the finance lead, or as somebody else."""
        client = self.lead if by == "finance-lead" else self.stack.client(by)
        client.answer(question["task_instance"], option)
