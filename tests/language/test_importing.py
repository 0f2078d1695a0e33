"""Whether an operator can be imported, seen without importing it."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from muster.language.importing import obstacle

PROVIDERS = "airflow.providers"


@pytest.mark.parametrize(
    ("path", "message", "suggestion"),
    [
        (f"{PROVIDERS}.http.operators.http.HttpOperator", f"no module `{PROVIDERS}.http`", "-providers-http`"),
        (
            f"{PROVIDERS}.cncf.kubernetes.operators.pod.KubernetesPodOperator",
            f"no module `{PROVIDERS}.cncf`",
            "`apache-airflow-providers-cncf-kubernetes`",
        ),
        (f"{PROVIDERS}.google.cloud.operators.gcs.X", "no module", "`apache-airflow-providers-google`"),
        (f"{PROVIDERS}.standrd.operators.bash.X", "no module", "Did you mean `standard`?"),
        (f"{PROVIDERS}.standard.operators.bsh.BashOperator", "operators.bsh`", "Did you mean `bash`?"),
        (f"{PROVIDERS}.standard.operators.bash.BashOperatr", "no `BashOperatr` in", "Did you mean `BashOperator`?"),
        ("nowhere.Operator", "no module `nowhere`", "Install the package that holds `nowhere`, or mend the path."),
        ("site_operators.Missing", "no `Missing` in site_operators", "Did you mean `Mising`?"),
    ],
)
def test_what_is_not_there_is_named_with_a_remedy(tmp_path: Path, path: str, message: str, suggestion: str) -> None:
    (tmp_path / "site_operators.py").write_text("class Mising: ...\n")
    found = obstacle(path, [tmp_path])
    assert found is not None
    assert message in found.message
    assert suggestion in found.suggestion


@pytest.mark.parametrize(
    "path",
    [
        f"{PROVIDERS}.standard.operators.bash.BashOperator",
        f"{PROVIDERS}.common.sql.operators.sql.SQLExecuteQueryOperator",
        f"{PROVIDERS}.standard.operators.trigger_dagrun.TriggerDagRunOperator",
        "airflow.operators.bash.BashOperator",  # Airflow makes this module itself, from another one.
        "airflow.sdk.BaseOperator",  # A name its package answers for when asked.
        "site_operators.Own",
    ],
)
def test_what_can_be_imported_is_let_pass(tmp_path: Path, path: str) -> None:
    (tmp_path / "site_operators.py").write_text("try:\n    class Own: ...\nfinally:\n    pass\n")
    assert obstacle(path, [tmp_path]) is None


def test_looking_imports_neither_airflow_nor_the_operator() -> None:
    asked = (
        "import sys\nfrom muster.language.importing import obstacle\n"
        f"assert obstacle('{PROVIDERS}.standard.operators.bash.BashOperator') is None\n"
        "print([name for name in sys.modules if name.startswith('airflow')])"
    )
    assert subprocess.run([sys.executable, "-c", asked], capture_output=True, text=True).stdout.strip() == "[]"
