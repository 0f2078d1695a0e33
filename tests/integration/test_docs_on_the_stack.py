"""The documentation's commands that need a running stack, executed on one."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from support.airflow import Airflow
from support.documents import ROOT, SHELL, blocks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

REST = ROOT / "docs" / "rest.md"
NAME = "documented"
SOURCE = f"""
automation: {NAME}
inputs:
  invoices: {{ type: array, items: {{ type: string }}, default: [] }}
steps:
  - {{ id: tell, notify: [{{ slack: "#ops", text: "{{{{ inputs.invoices | length }}}} invoices" }}] }}
"""


@pytest.fixture(scope="module")
def environment(airflow: Airflow) -> dict[str, str]:
    """What the pages ask the reader to set, and an automation to start in place of the one they name."""
    airflow.automation(NAME, SOURCE)
    return os.environ | {
        "AIRFLOW_URL": f"http://127.0.0.1:{airflow.stack.port}",
        "AIRFLOW_USER": "admin",
        "AIRFLOW_PASSWORD": airflow.stack.credentials.admin.password,
        "MUSTER_PROJECT": str(airflow.project),
        "NO_PROXY": "127.0.0.1",
        "no_proxy": "127.0.0.1",
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]]),
    }


def execute(command: list[str], environment: dict[str, str]) -> str:
    """What the command printed; it must succeed."""
    done = subprocess.run(command, capture_output=True, text=True, env=environment, check=False, timeout=600)
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def page(path: Path, *languages: str) -> str:
    """The page's blocks for a stack, one after another, with our automation's name."""
    found = [block for block in blocks(*languages, mark="stack") if block.page == path]
    assert found
    return "\n".join(block.text for block in found).replace("invoice_processing", NAME)


def test_the_shell_commands_of_the_rest_guide_work(airflow: Airflow, environment: dict[str, str]) -> None:
    lines = page(REST, *SHELL).splitlines()
    # The reader fills these in; here the environment does.
    script = "\n".join(line for line in lines if not line.startswith("export AIRFLOW_"))
    said = execute(["bash", "-euo", "pipefail", "-c", script], environment)
    assert '"dag_run_id":"mail-4711"' in said.replace(": ", ":")
    assert '{"state": "success", "results": {"tell": [{' in said
    assert f'"run":"{NAME}/mail-4711","automation":"{NAME}"' in said
    assert '"status":"succeeded"' in said
    assert '"type":"step.succeeded"' in said
    assert airflow.client.run(NAME, "mail-4713") is not None


def test_the_python_of_the_rest_guide_works_and_may_be_repeated(airflow: Airflow, environment: dict[str, str]) -> None:
    program = page(REST, "python")
    outputs = [execute([sys.executable, "-c", program], environment) for _ in range(2)]
    assert all("mail-4712" in output for output in outputs)
    assert airflow.finish(f"{NAME}/mail-4712") == "success"
    assert airflow.types(f"{NAME}/mail-4712").count("run.opened") == 1


def test_the_commands_of_the_notifications_guide_work(environment: dict[str, str]) -> None:
    script = page(ROOT / "docs" / "notifications.md", *SHELL)
    assert "kept" in execute(["bash", "-euo", "pipefail", "-c", script], environment)
