"""Muster on one machine: PostgreSQL, secrets and Airflow's processes under one supervisor."""
