"""Muster's domain: automations, agents, skills and the log, in plain Python without Airflow."""

__version__ = "0.1.0"
