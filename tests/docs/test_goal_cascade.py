"""What the page about the goal cascade shows is what its skills make of it."""

from __future__ import annotations

import json
import re

from muster.skills.strategy.arguing import Argument, argue, weigh_arguments
from muster.skills.strategy.cascading import leaves
from muster.skills.strategy.goals import weigh_goals
from muster.skills.strategy.reading import read_goals
from support.documents import ROOT

PAGE = (ROOT / "docs" / "automations" / "goal_cascade.md").read_text(encoding="utf-8")


def block(kind: str) -> str:
    found = re.search(rf"^```{kind}\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
    assert found, kind
    return found[1]


def test_the_text_of_the_page_has_its_goals() -> None:
    goals = leaves(weigh_goals(read_goals(block("markdown strategy"))))
    assert [goal.title for goal in goals] == ["Customers", "Loyalty", "Delivery"]
    assert [float(goal.weight) for goal in goals] == [0.42, 0.18, 0.4]


def test_the_debate_of_the_page_is_decided() -> None:
    arguments = [Argument.model_validate(each) for each in json.loads(block("json arguments"))]
    assert weigh_arguments(argue(arguments, "for"), argue(arguments, "against")).option == "web"
