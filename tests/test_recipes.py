"""The recipes of `docs/architecture.md`: their files, as they stand there, are all that is needed."""

from __future__ import annotations

import shutil
from pathlib import Path

from support.documents import ROOT, blocks
from support.played import played

FILES = {
    block.text.partition("\n")[0].removeprefix("# "): block.text for block in blocks("python", "yaml", mark="recipe")
}
"""The files that the recipes show, by the path in their first line."""


def house_with_recipes(folder: Path) -> Path:
    """A copy of the code with these files in their places."""
    for floor in ("include", "plugins"):
        shutil.copytree(ROOT / floor, folder / floor, ignore=shutil.ignore_patterns("__pycache__"))
    for path, text in FILES.items():
        assert not (folder / path).exists(), f"{path} is there already, so the recipe adds nothing"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(text, encoding="utf-8")
    return folder


def test_what_the_recipes_show_is_written_checked_performed_undone_and_documented(
    postgres: str, tmp_path: Path
) -> None:
    assert sorted(Path(path).parts[-2:] for path in FILES) == [
        ("channels", "pager.py"),
        ("channels", "pager.py"),
        ("office", "send_parcel.yaml"),
        ("parcels", "__init__.py"),
        ("strategies", "most_sides.py"),
    ]
    house = house_with_recipes(tmp_path)
    found = [house / "include", house / "plugins", ROOT / "tests"]
    said = played(ROOT / "tests" / "recipes" / "played.py", imports=found, DATABASE_URL=postgres, RECIPES=str(house))
    assert "7 passed" in said, said
