"""What the page about conflicts shows is so."""

from __future__ import annotations

import pytest
import yaml

from muster.coordination.conflicts import ConflictSettings
from support.documents import ROOT, Block, blocks

PAGE = ROOT / "docs" / "coordination" / "conflicts.md"
EXAMPLES = [block for block in blocks("python") if block.page == PAGE]


@pytest.mark.parametrize("block", EXAMPLES, ids=str)
def test_an_example_of_the_page_runs(block: Block) -> None:
    exec(compile(block.text, str(block), "exec"), {})


def test_the_page_shows_the_defaults() -> None:
    [block] = [block for block in blocks("yaml") if block.page == PAGE]
    assert ConflictSettings.model_validate(yaml.safe_load(block.text)) == ConflictSettings()
    assert len(EXAMPLES) == 3
