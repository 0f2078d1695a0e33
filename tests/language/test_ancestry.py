"""What an operator inherits from, seen without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from muster.language.ancestry import skips_others

STANDARD = "airflow.providers.standard.operators"
OWN = f"""
from __future__ import annotations

import {STANDARD}.python
import {STANDARD}.weekday as weekday
from airflow.sdk import BaseOperator
from own_mixins import *
from own_mixins import Chooses as Mine, Plain

try:
    from airflow.sdk.bases.skipmixin import SkipMixin
except ImportError:
    from airflow.models import SkipMixin

Base = BaseOperator

class Direct(BaseOperator, SkipMixin): ...
class Below(Direct): ...
class Dotted({STANDARD}.python.ShortCircuitOperator): ...
class Renamed(weekday.BranchDayOfWeekOperator): ...
class FromAnother(Base, Mine): ...
if True:
    class FromThePackage(Base, AlsoChooses[int]): ...
Another = Below

class NoneOfThem(Base, Plain): ...
class Circle(Circle): ...
class Called(made()): ...
"""
MIXINS = """
from .above import AlsoChooses
from airflow.sdk import BranchMixIn

class Chooses(BranchMixIn): ...
class Plain: ...
class SkipMixin: ...
"""
ABOVE = "from airflow.providers.common.compat.sdk import SkipMixin\n\nclass AlsoChooses(SkipMixin): ...\n"


@pytest.fixture
def plugins(tmp_path: Path) -> Path:
    (tmp_path / "own_mixins").mkdir()
    (tmp_path / "own_operators.py").write_text(OWN)
    (tmp_path / "own_mixins" / "__init__.py").write_text(MIXINS)
    (tmp_path / "own_mixins" / "above.py").write_text(ABOVE)
    return tmp_path


@pytest.mark.parametrize(
    "path",
    [
        f"{STANDARD}.latest_only.LatestOnlyOperator",
        f"{STANDARD}.python.ShortCircuitOperator",
        f"{STANDARD}.hitl.ApprovalOperator",
        "airflow.providers.common.sql.operators.sql.BranchSQLOperator",
        "airflow.providers.common.compat.standard.operators.ShortCircuitOperator",  # A name that its module looks up.
        "airflow.operators.weekday.BranchDayOfWeekOperator",  # A module that Airflow makes itself.
        "airflow.sdk.BaseBranchOperator",
        *(
            f"own_operators.{name}"
            for name in ("Direct", "Below", "Dotted", "Renamed", "FromAnother", "FromThePackage", "Another")
        ),
    ],
)
def test_who_has_tasks_skipped_is_known_by_what_it_inherits(plugins: Path, path: str) -> None:
    assert skips_others(path, [plugins])


@pytest.mark.parametrize(
    "path",
    [
        f"{STANDARD}.bash.BashOperator",
        f"{STANDARD}.python.PythonOperator",
        f"{STANDARD}.hitl.HITLOperator",
        "airflow.providers.common.sql.operators.sql.SQLExecuteQueryOperator",
        "airflow.operators.bash.BashOperator",
        "airflow.sdk.BaseOperator",
        *(f"own_operators.{name}" for name in ("NoneOfThem", "Circle", "Called", "Missing")),
        "own_mixins.SkipMixin",  # A name alone says nothing.
        "nowhere.Operator",
    ],
)
def test_who_has_not_is_let_pass(plugins: Path, path: str) -> None:
    assert not skips_others(path, [plugins])


def test_looking_imports_no_operator() -> None:
    asked = (
        "import sys\nfrom muster.language.ancestry import skips_others\n"
        f"assert skips_others('{STANDARD}.python.ShortCircuitOperator')\n"
        "print([name for name in sys.modules if name.startswith('airflow')])"
    )
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout.strip() == "[]"
