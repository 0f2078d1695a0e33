"""What the context of a skill offers for effects outside."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

import pytest

from muster.database import Database
from muster.errors import TransientError
from muster.recovery import EffectConflict, Happened, OutcomeUnknown
from muster.recovery.ledger import Ledger
from muster.skills import SkillContext


@pytest.fixture
def context(database: Database, tmp_path: Path) -> SkillContext:
    return SkillContext(
        run="a/1", step="pay", key="a/1/pay[3]", now=datetime.now(UTC), database=database, workspace=tmp_path
    )


async def test_a_skill_performs_an_effect_once_in_all_its_attempts(context: SkillContext) -> None:
    calls = []

    async def charge() -> int:
        calls.append(1)
        return 42

    assert await context.effect("charge", request={"amount": 5}).aperform(charge) == 42
    async with context.effect("charge", request={"amount": 5}) as effect:
        assert effect.happened
    assert (effect.result, effect.key, calls) == (42, "a/1/pay[3]/effect/charge", [1])
    with pytest.raises(EffectConflict):
        await context.effect("charge", request={"amount": 6}).aperform(charge)
    await context.database.aclose()


def test_a_blocking_skill_asks_what_happened_before_it_tries_again(context: SkillContext) -> None:
    def lost() -> int:
        raise TransientError("no answer")

    with pytest.raises(TransientError):
        context.effect("charge", request=5).perform(lost)
    with pytest.raises(OutcomeUnknown):
        context.effect("charge", request=5).perform(lost)
    assert context.effect("charge", request=5, find_out=lambda: Happened(7)).perform(lost) == 7
    [entry] = Ledger(context.database).entries(run="a/1")
    assert (entry.kind, entry.status, entry.result) == ("skill", "done", 7)
