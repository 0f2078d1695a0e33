"""One skill tried by hand behaves as it does in a run."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from support.command import Muster, read
from support.sources import source_of

SITE = source_of(__file__, "skills")


SITE += '''

@skill("shop.charge")
def charge(amount: int, context: SkillContext) -> str:
    """Charge a card, which the other side writes down."""
    from pathlib import Path

    from muster.errors import TransientError

    def perform() -> str:
        with Path("charged.txt").open("a") as charges:
            charges.write(f"{amount}\\n")
        if amount == 13:
            raise TransientError("the line went dead")
        return f"charged {amount}"

    return context.effect("charge", request={"amount": amount}).perform(perform)
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


BROKEN = source_of(__file__, "skills_broken")


@pytest.mark.parametrize(
    ("source", "arguments", "said"),
    [
        (BROKEN, ["broken.divide", "--with", "by=0"], ["broken.py:7: ZeroDivisionError: division by zero."]),
        (BROKEN, ["broken.give"], ["broken.py:10 gave back what is no data: PydanticSerializationError: "]),
        (BROKEN, ["broken.leave", "--with", "code=0"], ["skill broken.leave called sys.exit(0)", "Return a result"]),
        (BROKEN, ["broken.leave_at_once", "--with", "code=0"], ["skill broken.leave_at_once called sys.exit(0)"]),
        ("import nowhere\n" + BROKEN, ["broken.give"], ["broken.py:1: ModuleNotFoundError: No module named 'nowhere'"]),
        ("if\n" + BROKEN, ["broken.give"], ["broken.py:1: SyntaxError: "]),
        (BROKEN + "\n\nraise SystemExit\n", ["broken.give"], ["broken.py called sys.exit()"]),
    ],
)
def test_what_fails_in_a_skill_is_said_with_its_place_and_no_traceback(
    muster: Muster, project: Path, source: str, arguments: list[str], said: list[str]
) -> None:
    (project / "include" / "skills" / "broken.py").write_text(source)
    result = muster("skill", *arguments)
    assert (result.exit_code, result.stdout) == (1, ""), result.output
    assert all(part in result.stderr for part in said), result.stderr
    assert "Traceback" not in result.stderr
    assert "Traceback" in muster("--debug", "skill", *arguments).stderr


def test_all_skills_are_listed_the_shipped_ones_and_the_sites_own(muster: Muster) -> None:
    listed = {entry["name"]: entry for entry in read(muster("skill", "--list", "--json"))}
    assert listed["shop.keep"] == {"name": "shop.keep", "lane": "async", "summary": "Keep a text in the workspace."}
    assert "finance.read_invoice" in listed


def charges(project: Path) -> list[str]:
    """What the other side wrote down."""
    return (project / "charged.txt").read_text().split()


def test_each_call_by_hand_has_effects_of_its_own_and_a_key_repeats_one(
    muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    first = muster("skill", "shop.charge", "--with", "amount=5", "--json")
    assert (first.exit_code, read(first)) == (0, "charged 5"), first.output
    second = muster("skill", "shop.charge", "--with", "amount=6", "--json")
    assert (second.exit_code, read(second)) == (0, "charged 6"), second.output
    assert charges(project) == ["5", "6"]
    key = re.search(r"under the key (try/\w+)", first.stderr)
    assert key is not None
    assert "for real" in first.stderr
    again = muster("skill", "shop.charge", "--with", "amount=5", "--key", key[1], "--json")
    assert (again.exit_code, read(again), charges(project)) == (0, "charged 5", ["5", "6"])
    assert muster("skill", "shop.charge", "--with", "amount=5", "--key", "../x").exit_code == 2


def test_an_effect_of_a_call_by_hand_that_is_in_doubt_is_seen_and_settled(
    muster: Muster, project: Path, dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MUSTER_DSN", dsn)
    lost = muster("skill", "shop.charge", "--with", "amount=13")
    assert lost.exit_code != 0
    found = re.search(r"under the key (try/\w+)", lost.stderr)
    assert found is not None
    key = found[1]
    [entry] = read(muster("effects", "--run", key, "--in-doubt", "--json"))
    settled = muster("effects", "settle", entry["key"], "--happened", "--result", '"charged 13"')
    assert settled.exit_code == 0, settled.output
    again = muster("skill", "shop.charge", "--with", "amount=13", "--key", key, "--json")
    assert (again.exit_code, read(again), charges(project)) == (0, "charged 13", ["13"])
