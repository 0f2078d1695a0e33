"""What people are told who come from Airflow, dag-factory, Kestra or GitHub Actions: `mistakes_of_newcomers.yaml`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
import yaml

from muster.language import load_folder

TABLE = yaml.safe_load(Path(__file__).with_name("mistakes_of_newcomers.yaml").read_text())


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row["mistake"])
def test_a_newcomer_is_told_the_place_and_what_to_write(
    row: dict[str, str], site: Path, write: Callable[[str, str], Path]
) -> None:
    write("automations/tested.yaml", row["file"])
    told = [f"{p.line}:{p.column}: {p.message} >> {p.suggestion or ''}" for p in load_folder(site).problems]
    assert [line.removesuffix(" >> ") for line in told] == row["told"]
