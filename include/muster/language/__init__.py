"""What an automation says: reading YAML, checking it, and the resolved definition that runs."""
