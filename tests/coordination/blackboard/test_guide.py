"""What the page about shared context shows works."""

from __future__ import annotations

import pytest

from support.documents import ROOT, Block, blocks

PAGE = ROOT / "docs" / "coordination" / "blackboard.md"


@pytest.mark.parametrize("block", [block for block in blocks("python") if block.page == PAGE], ids=str)
def test_what_the_page_shows_works(dsn: str, block: Block) -> None:
    exec(compile(block.text, str(block), "exec"), {"DSN": dsn})
