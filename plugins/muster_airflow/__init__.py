"""Everything that plugs Muster into Apache Airflow."""

from muster_airflow.loading import load_automations

__all__ = ["load_automations"]
