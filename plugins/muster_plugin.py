"""The one file that Airflow's plugin manager loads from the plugins folder."""

from importlib.metadata import entry_points

if not entry_points(group="airflow.plugins", name="muster"):
    # An installed Muster is found by its entry point, and Airflow lists a second one as an error.
    from muster_airflow.plugin import MusterPlugin  # noqa: F401
