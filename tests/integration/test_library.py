"""The promise that Muster is a library too: its wheel in an Airflow that knows nothing of this project."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from support.documents import blocks

pytestmark = [pytest.mark.integration, pytest.mark.timeout(900)]

ROOT = Path(__file__).parents[2]
DAG_FILE = '''"""Our automations as Airflow Dags."""
from muster_airflow import load_automations
load_automations(globals(), "{include}")
'''
AUTOMATION = """
automation: greeting
inputs: {name: {type: string, default: world}}
steps:
  - {id: greet, skill: ours.greet, with: {name: "{{ inputs.name }}"}}
  - {id: tell, notify: [{slack: "#hall", text: "{{ steps.greet }}"}]}
"""
SKILL = '''"""Our own skills."""
from muster.skills import skill

@skill("ours.greet")
def greet(name: str) -> str:
    """Say hello."""
    return f"Hello, {name}!"
'''
LOOK = """
import json
from airflow.dag_processing.dagbag import DagBag
from airflow import plugins_manager
bag = DagBag(dag_folder={dags!r})
plugins, errors = plugins_manager._get_plugins()
print(json.dumps({{
    "dags": {{name: [task.task_id for task in dag.tasks] for name, dag in bag.dags.items()}},
    "errors": bag.import_errors,
    "plugins": [plugin.name for plugin in plugins if plugin.name == "muster"],
    "plugin_errors": errors,
}}))
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A clean environment with Airflow as locked, and the wheel made from this project."""
    folder = tmp_path_factory.mktemp("clean")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", str(folder), str(ROOT))
    (wheel,) = folder.glob("*.whl")
    run(sys.executable, "-m", "venv", "--without-pip", str(folder / "venv"))
    found = folder / "venv" / "bin" / "python"
    install = (sys.executable, "-m", "uv", "pip", "install", "--quiet", "--python", str(found))
    run(*install, "--require-hashes", "--requirement", str(ROOT / "requirements.txt"))
    run(*install, "--no-deps", str(wheel))
    return found


def run(*command: str, **environment: str) -> str:
    kept = {key: value for key, value in os.environ.items() if not key.startswith(("AIRFLOW", "PYTHON"))}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd="/", env={**kept, **environment})
    assert done.returncode == 0, done.stderr[-3000:]
    return done.stdout


def test_three_lines_in_a_dag_file_load_a_folder(python: Path, tmp_path: Path) -> None:
    include, dags = tmp_path / "company", tmp_path / "dags"
    for folder in (include / "automations", include / "skills", dags):
        folder.mkdir(parents=True)
    (include / "automations" / "greeting.yaml").write_text(AUTOMATION)
    (include / "skills" / "ours.py").write_text(SKILL)
    (dags / "ours.py").write_text(DAG_FILE.format(include=include))
    assert len(DAG_FILE.splitlines()) == 3
    printed = run(
        str(python),
        "-c",
        LOOK.format(dags=str(dags)),
        AIRFLOW_HOME=str(tmp_path / "home"),
        AIRFLOW__CORE__LOAD_EXAMPLES="False",
    )
    seen = json.loads(printed.splitlines()[-1])
    assert seen["errors"] == {}
    assert set(seen["dags"]["greeting"]) == {"open", "greet", "tell", "close"}
    assert seen["plugins"] == ["muster"], "found by its entry point, with no plugins folder"
    assert not any("muster" in source for source in seen["plugin_errors"])


def test_the_commands_of_the_page_make_a_wheel_and_install_it(tmp_path: Path) -> None:
    """As they are printed, in a copy of the project; what Muster needs is installed by the other tests."""
    for name in ("include", "plugins"):
        shutil.copytree(ROOT / name, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(ROOT / name, tmp_path)
    [block] = blocks("sh", mark="wheel")
    build, install = block.text.splitlines()
    path = os.pathsep.join([str(Path(sys.executable).parent), os.environ["PATH"]])
    shell = ("bash", "-euo", "pipefail", "-c")
    run(*shell, f"cd {tmp_path}\n{build}", PATH=path)
    # Only the wheel, and not into the environment that the tests run in.
    kept_apart = {"PIP_NO_DEPS": "1", "PIP_TARGET": str(tmp_path / "installed")}
    run(*shell, f"cd {tmp_path}\n{install}", PATH=path, **kept_apart)
    assert (tmp_path / "installed" / "muster_airflow" / "plugin.py").is_file()
    assert (tmp_path / "installed" / "muster" / "cli").is_dir()


def test_the_wheel_holds_its_migrations_and_nothing_of_the_site(python: Path) -> None:
    code = (
        "import importlib.util, muster, muster_airflow;"
        "from muster.language import load_folder;"
        "from muster.migrations import migrate;"
        "assert importlib.util.find_spec('tests') is None;"
        "print(muster.__file__)"
    )
    assert "site-packages" in run(str(python), "-c", code)
