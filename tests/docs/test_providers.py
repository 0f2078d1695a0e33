"""Adding a provider: what lint says before it is installed, and what it takes once it is."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from muster.language import Catalogue, load_folder
from muster.language.kinds.operator import allowed_operators
from support.documents import ROOT, blocks

PAGE = ROOT / "docs" / "operating.md"
TEXT = PAGE.read_text(encoding="utf-8").partition("## Adding a provider")[2]
[AUTOMATION] = [block.text for block in blocks("yaml", mark="provider")]
[SAID] = [block.text for block in blocks("text", mark="provider")]


def loaded(folder: Path, settings: str = "{}") -> Catalogue:
    """A site with the automation of the page alone."""
    (folder / "automations").mkdir(exist_ok=True)
    (folder / "automations" / "fetch_rates.yaml").write_text(AUTOMATION)
    (folder / "settings.yaml").write_text(settings)
    return load_folder(folder)


def test_lint_names_the_package_in_the_words_of_the_page(tmp_path: Path) -> None:
    [problem] = loaded(tmp_path).problems
    assert SAID.splitlines() == [problem.message, problem.suggestion]


def test_once_it_is_there_it_is_allowed_and_its_arguments_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    module = tmp_path / "site" / "airflow" / "providers" / "http" / "operators" / "http.py"
    module.parent.mkdir(parents=True)
    module.write_text(
        "from airflow.sdk import BaseOperator\n\nclass HttpOperator(BaseOperator):\n"
        "    def __init__(self, *, http_conn_id, endpoint, method, **kwargs):\n        super().__init__(**kwargs)\n"
    )
    for folder in (module.parent, module.parent.parent):
        (folder / "__init__.py").touch()
    monkeypatch.syspath_prepend(tmp_path / "site")
    assert loaded(tmp_path).problems == []
    [refused] = loaded(tmp_path, "allowed_operators: [company_operators.*]").problems
    assert "is not allowed here" in refused.message
    [setting] = re.findall(r"^ *(allowed_operators: .*)$", TEXT, re.MULTILINE)
    assert loaded(tmp_path, setting).problems == []


def test_the_default_and_the_providers_that_are_installed_are_those_it_names() -> None:
    assert allowed_operators({}) == ["airflow.providers.*"]
    assert "`airflow.providers.*` is" in TEXT
    named = re.findall(r"`([\w-]+)`", TEXT.partition("Installed are the providers")[2].partition(", and what")[0])
    project = (ROOT / "pyproject.toml").read_text(encoding="utf-8").partition("[project.scripts]")[0]
    assert set(named) == set(re.findall(r'"apache-airflow-providers-([\w-]+?)[>=<"]', project))


def test_the_lock_holds_every_provider_with_hashes() -> None:
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    assert len(re.findall(r"^apache-airflow-providers-[\w-]+==\S+ \\\n    --hash=sha256:", locked, re.MULTILINE)) >= 5
