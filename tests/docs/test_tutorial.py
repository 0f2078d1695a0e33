"""What the tutorial does without Airflow: its files, its mistakes, and its test, as they stand on the page."""

from __future__ import annotations

from pathlib import Path

from support.tutorial import Reader, missing, scenes

HERE = {"lint", "list", "test"}
"""Commands that need no running Airflow."""


def test_each_file_of_the_tutorial_is_valid_when_the_page_says_so_and_its_test_finds_what_it_says(
    tmp_path: Path, postgres: str
) -> None:
    reader, tested = Reader(tmp_path, {"MUSTER_REHEARSAL_SERVER": postgres}), []
    for scene in scenes():
        if scene.is_file:
            reader.write(scene)
            continue
        commands = {command[1] for command in scene.block.commands if command[0] == "muster"}
        if commands and not commands & HERE:
            continue
        code, printed = reader.type(scene, HERE)
        assert bool(code) == ("fails" in scene.block.marks), f"{scene.block}: {printed}"
        if commands <= HERE:
            assert missing(scene.shown, printed) == [], f"{scene.block}: {printed}"
            tested += [command for command in commands if command == "test"]
    assert len(tested) == 3
