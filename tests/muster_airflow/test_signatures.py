"""What lint says of an operator's arguments is what Airflow says when the operator is made."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from pathlib import Path

import pytest
import yaml
from airflow.sdk import BaseOperator

from muster.language import load_folder
from muster.language.signatures import BASE_TAKES, signature

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
def test_what_is_known_of_an_installed_operator_is_what_it_takes(operator: type[BaseOperator]) -> None:
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
    if found is not None:
        assert found.taken == taken - {"self", "task_id"}
        assert found.needed == (needed or set()) - {"self", "task_id"}


def test_of_most_of_them_something_is_known() -> None:
    known = [it for it in OPERATORS if signature(f"{it.__module__}.{it.__name__}") is not None]
    assert len(known) > 40


def test_what_every_operator_takes_is_what_airflows_base_takes() -> None:
    said = inspect.signature(inspect.unwrap(BaseOperator.__init__)).parameters
    assert said.keys() - {"self", "task_id", "kwargs"} == BASE_TAKES


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ("bash_comand: ls", ["`BashOperator` needs `bash_command`", "`BashOperator` takes no `bash_comand`"]),
        ("bash_command: ls, env: {A: b}, cwd: /tmp", []),
        ("bash_command: ls, queue: slow, max_retry_delay: 5", []),
        ("default_args: { bash_command: ls }", []),
        ('default_args: "{{ settings.given }}"', []),
        ("bash_command: ls, anything: 1", ["`BashOperator` takes no `anything`"]),
    ],
)
def test_lint_says_what_an_operator_takes_and_needs(tmp_path: Path, given: str, said: list[str]) -> None:
    (tmp_path / "automations").mkdir()
    step = f"  - id: job\n    operator: {BASH}\n    with: {{ {given} }}\n"
    text = f"automation: tested\nsettings: {{ given: {{}} }}\nsteps:\n{step}"
    (tmp_path / "automations" / "tested.yaml").write_text(text)
    assert [problem.message for problem in load_folder(tmp_path).problems] == said


def test_nothing_is_said_of_a_folder_that_was_published(tmp_path: Path) -> None:
    (tmp_path / "automations").mkdir()
    text = f"automation: tested\nsteps:\n  - id: job\n    operator: {BASH}\n    with: {{ anything: 1 }}\n"
    (tmp_path / "automations" / "tested.yaml").write_text(text)
    assert load_folder(tmp_path, published=True).problems == []


def test_nothing_is_said_where_the_files_do_not_say(tmp_path: Path) -> None:
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / "made.py").write_text("Made = type('Made', (), {})\n")
    assert signature("made.Made", [tmp_path / "plugins"]) is None


PLAIN = "from airflow.sdk import BaseOperator\n"
OWN: dict[str, tuple[str, str]] = {
    "it takes an argument out of those that are left over": (
        """
class Op(BaseOperator):
    def __init__(self, **kwargs):
        self.tenant = kwargs.pop("tenant", None)
        super().__init__(**kwargs)
""",
        "tenant: a",
    ),
    "its __init__ is one of two": (
        """
class Op(BaseOperator):
    if True:
        def __init__(self, tenant=None, **kwargs):
            super().__init__(**kwargs)
    else:
        def __init__(self, **kwargs):
            super().__init__(**kwargs)
""",
        "tenant: a",
    ),
    "its __init__ is written several times for type checkers": (
        """
from typing import overload
class Op(BaseOperator):
    @overload
    def __init__(self, *, a: str, **kwargs): ...
    @overload
    def __init__(self, *, b: str, **kwargs): ...
    def __init__(self, *, a=None, b=None, **kwargs):
        super().__init__(**kwargs)
""",
        "b: x",
    ),
    "it is written twice": (
        """
if True:
    class Op(BaseOperator):
        def __init__(self, *, a=None, **kwargs):
            super().__init__(**kwargs)
else:
    class Op(BaseOperator):
        def __init__(self, *, old, **kwargs):
            super().__init__(**kwargs)
""",
        "a: x",
    ),
    "it has the name of what it inherits from": (
        """
from airflow.providers.standard.operators.bash import BashOperator as Op
_Base = Op
class Op(_Base):
    def __init__(self, *, tenant, **kwargs):
        super().__init__(bash_command="ls", **kwargs)
""",
        "tenant: x",
    ),
    "what it inherits from is one of two": (
        """
class One(BaseOperator):
    def __init__(self, *, a):
        super().__init__(task_id="t")
class Two(BaseOperator):
    def __init__(self, *, b, **kwargs):
        super().__init__(**kwargs)
Base = One
Base = Two
class Op(Base):
    def __init__(self, **kwargs):
        super().__init__(**kwargs)
""",
        "b: x",
    ),
    "the first that it inherits from needs nothing": (
        """
class A(BaseOperator):
    def __init__(self, *, a="x", **kwargs):
        super().__init__(**kwargs)
class B(BaseOperator):
    def __init__(self, *, b, **kwargs):
        super().__init__(**kwargs)
class A2(A):
    def __init__(self, **kwargs):
        super().__init__(b="1", **kwargs)
class Op(A2, B):
    pass
""",
        "a: b",
    ),
    "what two inherit from comes after both": (
        """
class Base(BaseOperator):
    def __init__(self, *, x, **kwargs):
        super().__init__(**kwargs)
class A(Base):
    pass
class B(Base):
    def __init__(self, **kwargs):
        super().__init__(x=1, **kwargs)
class Op(A, B):
    pass
""",
        "queue: a",
    ),
    "its __init__ is decorated": (
        """
def with_tenant(function):
    def init(self, *args, tenant=None, **kwargs):
        return function(self, *args, **kwargs)
    return init
class Op(BaseOperator):
    @with_tenant
    def __init__(self, x=None, **kwargs):
        super().__init__(**kwargs)
""",
        "tenant: a",
    ),
    "its __init__ is another function": (
        """
def _init(self, x=None, **kwargs):
    BaseOperator.__init__(self, **kwargs)
class Op(BaseOperator):
    __init__ = _init
""",
        "x: a",
    ),
    "the site has a BaseOperator of its own": (
        """
from airflow.sdk import BaseOperator as _B
class BaseOperator(_B):
    def __init__(self, *, tenant=None, **kwargs):
        super().__init__(**kwargs)
class Op(BaseOperator):
    def __init__(self, *, x=None, **kwargs):
        super().__init__(**kwargs)
""",
        "x: a, queue: b, doc_md: c",
    ),
    "it goes past what it inherits from": (
        """
class Mid(BaseOperator):
    def __init__(self, x=None):
        pass
class Op(Mid):
    def __init__(self, **kwargs):
        BaseOperator.__init__(self, **kwargs)
""",
        "doc_md: a",
    ),
}


@pytest.mark.parametrize("how", OWN)
def test_an_operator_that_takes_its_arguments_is_not_refused(
    how: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source, given = OWN[how]
    module = f"own_operators_{list(OWN).index(how)}"
    (tmp_path / "include" / "automations").mkdir(parents=True)
    (tmp_path / "include" / "settings.yaml").write_text(f"allowed_operators: ['{module}.Op']\n")
    (tmp_path / "plugins").mkdir()
    (tmp_path / "plugins" / f"{module}.py").write_text(PLAIN + source)
    text = f"automation: tested\nsteps:\n  - id: job\n    operator: {module}.Op\n    with: {{ {given} }}\n"
    (tmp_path / "include" / "automations" / "tested.yaml").write_text(text)
    monkeypatch.syspath_prepend(str(tmp_path / "plugins"))
    importlib.import_module(module).Op(task_id="t", **yaml.safe_load(f"{{ {given} }}"))  # Airflow takes it.
    assert load_folder(tmp_path / "include").problems == []
