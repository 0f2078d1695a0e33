"""Pages and JSON that the plugin mounts at `/muster` in Airflow's API server."""
