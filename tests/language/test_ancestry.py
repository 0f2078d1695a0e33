"""What an operator inherits from, seen without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from muster.language.ancestry import skips_others, starts_runs
from muster.language.importing import obstacle

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


@pytest.mark.parametrize(
    "text",
    [
        f"x = {'-' * 20_000}1\nclass Own: ...\n",
        f"x = {'+'.join(['1'] * 20_000)}\nclass Own: ...\n",
        f"class Own({'.'.join(['a'] * 5_000)}): ...\n",
        "if 0: pass\n" + "elif 1: pass\n" * 3_000 + "class Own: ...\n",
    ],
    ids=["signs", "sum", "dots", "elif"],
)
def test_what_is_nested_beyond_measure_is_let_pass(tmp_path: Path, text: str) -> None:
    (tmp_path / "deep_operators.py").write_text(text)
    assert not skips_others("deep_operators.Own", [tmp_path])
    assert obstacle("deep_operators.Own", [tmp_path]) is None
    obstacle("deep_operators.Missing", [tmp_path])  # Whatever it says, it says something.


def test_who_has_airflow_start_runs_is_known_likewise(tmp_path: Path) -> None:
    own = f"from {STANDARD}.trigger_dagrun import TriggerDagRunOperator as Base\nclass Own(Base): ...\n"
    (tmp_path / "starting_operators.py").write_text(own)
    assert starts_runs("starting_operators.Own", [tmp_path])
    assert starts_runs(f"{STANDARD}.trigger_dagrun.TriggerDagRunOperator")
    assert not starts_runs(f"{STANDARD}.bash.BashOperator")
    assert not starts_runs(f"{STANDARD}.python.ShortCircuitOperator")


def test_a_long_line_of_ancestors_is_followed_to_its_end(tmp_path: Path) -> None:
    chain = "".join(f"class Own{n}(Own{n + 1}): ...\n" for n in range(5_000))
    last = "from airflow.sdk import SkipMixin\nclass Own5000(SkipMixin): ...\n"
    (tmp_path / "long_operators.py").write_text(chain + last)
    assert skips_others("long_operators.Own0", [tmp_path])
    assert not skips_others("long_operators.Own5001", [tmp_path])


def test_a_module_is_read_in_the_encoding_that_it_names(tmp_path: Path) -> None:
    text = "# -*- coding: latin-1 -*-\nfrom airflow.sdk import SkipMixin\nname = '\xe4'\nclass Own(SkipMixin): ...\n"
    (tmp_path / "latin_operators.py").write_bytes(text.encode("latin-1"))
    (tmp_path / "marked_operators.py").write_bytes(text.replace("latin-1", "utf-8").encode("utf-8-sig"))
    (tmp_path / "unknown_operators.py").write_text("# -*- coding: no-such-thing -*-\nclass Own: ...\n")
    assert skips_others("latin_operators.Own", [tmp_path])
    assert skips_others("marked_operators.Own", [tmp_path])
    assert not skips_others("unknown_operators.Own", [tmp_path])
    assert obstacle("unknown_operators.Own", [tmp_path]) is None


def test_looking_imports_no_operator() -> None:
    asked = (
        "import sys\nfrom muster.language.ancestry import skips_others\n"
        f"assert skips_others('{STANDARD}.python.ShortCircuitOperator')\n"
        "print([name for name in sys.modules if name.startswith('airflow')])"
    )
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout.strip() == "[]"
