"""Agents that work as a team: the plan of a goal's tasks, and who does which of them."""
