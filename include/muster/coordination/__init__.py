"""Agents that work as a team: the plan of a goal's tasks, who does which of them, and what they tell each other."""
