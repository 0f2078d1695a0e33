"""Proves that an automation can be trusted: plays it whole, broken, repeated and crashed, without Airflow."""
