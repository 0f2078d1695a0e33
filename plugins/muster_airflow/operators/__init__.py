"""Operators: one task for each step of an automation, one that opens the run and one that closes it."""
