"""A run's inputs name files: what it may not read never reaches the log, and nobody learns which files there are."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from muster.database import Database
from muster.language import load_folder
from muster.language.definition import Definition
from support.runs import Site

TEN_LINES = """
automation: invoice_check
triggers:
  - files: { path: %s, match: ["*.xml", "*.pdf"] }
inputs:
  invoices: { type: array, items: { type: string } }
steps:
  - { id: read, skill: finance.read_invoice, each: "{{ inputs.invoices }}", with: { uri: "{{ item }}" } }
  - { id: check, skill: finance.check_invoice, each: "{{ steps.read }}", with: { invoice: "{{ item }}" } }
"""
"""The example of the README."""
BUNDLED = Path(__file__).parents[2] / "include" / "inbox" / "invoices" / "01-papierhaus-seidel.xml"


@pytest.fixture
def site(database: Database, tmp_path: Path) -> Site:
    made = Site(tmp_path / "site", database)
    made.services = replace(made.services, readable=(made.services.artifacts,))
    return made


def automation(site: Site, folder: Path, more: str = "") -> Definition:
    (site.include / "automations" / "check.yaml").write_text(TEN_LINES % folder + more)
    catalogue = load_folder(site.include)
    assert catalogue.problems == []
    return catalogue.definitions["invoice_check"]


def test_a_run_reads_what_its_own_trigger_watches_and_nothing_else(site: Site, tmp_path: Path) -> None:
    (watched := tmp_path / "watched").mkdir()
    (private := tmp_path / "private").mkdir()
    for folder in (watched, private):
        (folder / "invoice.xml").write_bytes(BUNDLED.read_bytes())
    (watched / "link.xml").symlink_to(private / "invoice.xml")
    refused = [
        (private / "invoice.xml").as_uri(),
        (private / "missing.xml").as_uri(),
        (watched / "missing.xml").as_uri(),
        (watched / "link.xml").as_uri(),
        f"file://{watched}/%2e%2e/private/invoice.xml",
        "/dev/zero",
        "/etc/passwd",
        "/proc/self/environ",
    ]
    run = site.run(automation(site, watched), invoices=[(watched / "invoice.xml").as_uri(), *refused])

    items = site.state(run).step("read").items
    assert items[0].status == "succeeded"
    said = set()
    for index, uri in enumerate(refused, 1):
        assert items[index].status == "set_aside"
        error = items[index].error
        assert error is not None
        said.add(str(error).replace(uri, "NAME"))
    assert len(said) == 1, "the words do not tell which files there are"


def test_the_settings_allow_more_folders_and_larger_files(site: Site, tmp_path: Path) -> None:
    (more := tmp_path / "more").mkdir()
    (more / "invoice.xml").write_bytes(BUNDLED.read_bytes())
    uri = (more / "invoice.xml").as_uri()
    watched = tmp_path / "watched"
    for settings, status in (
        ("", "set_aside"),
        (f"settings: {{ allowed_files: [{more}] }}\n", "succeeded"),
        (f"settings: {{ allowed_files: [{more}], max_file_mb: 0.001 }}\n", "set_aside"),
    ):
        run = site.run(automation(site, watched, settings), invoices=[uri])
        assert site.state(run).step("read").items[0].status == status, settings


def test_a_setting_that_makes_no_sense_is_shown_with_its_place(site: Site, tmp_path: Path) -> None:
    (site.include / "automations" / "check.yaml").write_text(
        TEN_LINES % tmp_path + "settings:\n  allowed_files: /srv/in\n"
    )
    assert _problems(site) == [
        "include/automations/check.yaml:11: the setting `allowed_files` is no list of folders",
    ]
    # As long as the settings are wrong, nothing that uses them is looked at.
    (site.include / "settings.yaml").write_text("max_file_mb: many\n")
    assert _problems(site) == ["include/settings.yaml:1: the setting `max_file_mb` is no size"]


def _problems(site: Site) -> list[str]:
    return [f"{problem.file}:{problem.line}: {problem.message}" for problem in load_folder(site.include).problems]
