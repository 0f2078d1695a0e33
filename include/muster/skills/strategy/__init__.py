"""Strategy: debates, goals, who has to reach which part of them, and how far they have got."""

from __future__ import annotations

from muster.skills.strategy.arguing import Argument, Heard, Verdict, argue, weigh_arguments
from muster.skills.strategy.cascading import HandedDown, hand_down, leaves
from muster.skills.strategy.goals import Goal, Goals, Kpi, WeighedGoal, weigh_goals
from muster.skills.strategy.progress import Cascade, Measurement, Progress, measure_progress
from muster.skills.strategy.reading import read_goals
from muster.skills.strategy.reporting import Report, report

__all__ = [
    "Argument",
    "Cascade",
    "Goal",
    "Goals",
    "HandedDown",
    "Heard",
    "Kpi",
    "Measurement",
    "Progress",
    "Report",
    "Verdict",
    "WeighedGoal",
    "argue",
    "hand_down",
    "leaves",
    "measure_progress",
    "read_goals",
    "report",
    "weigh_arguments",
    "weigh_goals",
]
