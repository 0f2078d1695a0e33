"""One skill tried by hand behaves as it does in a run."""

from __future__ import annotations

from pathlib import Path

import pytest

from support.command import Muster, read

SITE = '''
"""A site's own skills."""

from decimal import Decimal

from muster.skills import SkillContext, skill


@skill("shop.add_tax")
def add_tax(net: Decimal, rate: Decimal = Decimal("0.19")) -> Decimal:
    """Add value-added tax to a net amount."""
    return net * (1 + rate)


@skill("shop.keep", lane="async")
async def keep(text: str, context: SkillContext) -> str:
    """Keep a text in the workspace."""
    (context.workspace / "kept.txt").write_text(text)
    with context.database.connection() as connection:
        return str(connection.execute("SELECT 40 + 2").fetchone()[0])
'''


@pytest.fixture(autouse=True)
def site(project: Path) -> None:
    """A site with skills of its own, whose modules no other test sees."""
    import sys

    (project / "include" / "skills").mkdir()
    (project / "include" / "skills" / "shop.py").write_text(SITE)
    sys.modules.pop("muster_site.shop", None)


def test_values_are_typed_as_in_a_step_and_money_stays_exact(muster: Muster) -> None:
    result = muster("skill", "shop.add_tax", "--with", "net=19.90", "--with", "rate=0.1", "--json")
    assert result.exit_code == 0, result.output
    assert read(result) == "21.890"


def test_a_skill_that_asks_for_a_context_gets_database_and_workspace(
    muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    result = muster("skill", "shop.keep", "--with", "text=hello", "--json")
    assert result.exit_code == 0, result.output
    assert read(result) == "42"
    [kept] = project.glob(".muster/artifacts/try/*/kept.txt")
    assert kept.read_text() == "hello"


def test_arguments_that_do_not_fit_are_named(muster: Muster) -> None:
    result = muster("skill", "shop.add_tax", "--with", "gross=1")
    assert result.exit_code == 1
    assert "net" in result.stderr
    assert "gross" in result.stderr


def test_an_unknown_skill_gets_a_suggestion(muster: Muster) -> None:
    result = muster("skill", "shop.ad_tax")
    assert result.exit_code == 1
    assert "shop.add_tax" in result.stderr


def test_all_skills_are_listed_the_shipped_ones_and_the_sites_own(muster: Muster) -> None:
    listed = {entry["name"]: entry for entry in read(muster("skill", "--list", "--json"))}
    assert listed["shop.keep"] == {"name": "shop.keep", "lane": "async", "summary": "Keep a text in the workspace."}
    assert "finance.read_invoice" in listed
