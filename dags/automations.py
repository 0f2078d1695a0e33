"""Every published automation becomes one Airflow Dag."""

from muster_airflow import load_automations

load_automations(globals())
