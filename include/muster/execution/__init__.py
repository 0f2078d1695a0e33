"""Performs one step of one run: reads the log, decides, calls, and writes the log."""
