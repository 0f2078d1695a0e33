"""What lint says of an operator's arguments is what Airflow says when the operator is made."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
from airflow.sdk import BaseOperator

from muster.language import load_folder
from muster.language.signatures import signature

PACKAGES = ("standard", "postgres", "slack", "common.sql", "common.ai")
BASH = "airflow.providers.standard.operators.bash.BashOperator"


def operators() -> list[type[BaseOperator]]:
    """Every operator of the providers that are installed."""
    found = set()
    for name in PACKAGES:
        package = importlib.import_module(f"airflow.providers.{name}")
        for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
            if ".operators." in module.name or ".sensors." in module.name:
                try:
                    members = vars(importlib.import_module(module.name)).values()
                except Exception:
                    continue  # What it needs is not installed.
                found |= {it for it in members if isinstance(it, type) and it.__module__ == module.name}
    return sorted((it for it in found if issubclass(it, BaseOperator)), key=lambda it: it.__qualname__)


OPERATORS = operators()


@pytest.mark.parametrize("operator", OPERATORS, ids=lambda it: it.__name__)
def test_every_argument_of_an_installed_operator_is_known(operator: type[BaseOperator]) -> None:
    taken, needed = set(), None
    for kind in operator.__mro__:
        if "__init__" not in vars(kind) or kind is object:
            continue
        said = inspect.signature(inspect.unwrap(vars(kind)["__init__"])).parameters.values()
        plain = [each for each in said if each.kind not in (each.VAR_KEYWORD, each.VAR_POSITIONAL)]
        taken |= {each.name for each in plain}
        needed = {each.name for each in plain if each.default is each.empty} if needed is None else needed
        if len(plain) == len(said) or kind is BaseOperator:
            break
    found = signature(f"{operator.__module__}.{operator.__name__}")
    assert found is not None
    # A mixin beside Airflow's own base may take one more, which does no harm.
    assert taken - {"self", "task_id"} <= found.taken <= taken | {"context"}
    assert found.needed == (needed or set()) - {"self", "task_id"}


def test_there_are_enough_of_them() -> None:
    assert len(OPERATORS) > 50


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bash_comand: ls", ["`BashOperator` needs `bash_command`", "`BashOperator` takes no `bash_comand`"]),
        ("bash_command: ls, env: {A: b}, cwd: /tmp", []),
        ("bash_command: ls, queue: slow, max_retry_delay: 5", []),
        ("bash_command: ls, anything: 1", ["`BashOperator` takes no `anything`"]),
    ],
)
def test_lint_says_what_an_operator_takes_and_needs(tmp_path: Path, given: str, said: list[str]) -> None:
    (tmp_path / "automations").mkdir()
    text = f"automation: tested\nsteps:\n  - id: job\n    operator: {BASH}\n    with: {{ {given} }}\n"
    (tmp_path / "automations" / "tested.yaml").write_text(text)
    assert [problem.message for problem in load_folder(tmp_path).problems] == said


def test_nothing_is_said_where_the_files_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "made.py").write_text("Made = type('Made', (), {})\n")
    assert signature("made.Made", [tmp_path / "plugins"]) is None
