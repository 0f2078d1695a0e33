"""Asks people and takes their answers: once, before Airflow knows of them, and by rules that the log decides."""
