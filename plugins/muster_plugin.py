"""The one file that Airflow's plugin manager loads from the plugins folder."""

from muster_airflow.plugin import MusterPlugin

__all__ = ["MusterPlugin"]
