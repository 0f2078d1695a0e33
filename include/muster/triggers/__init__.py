"""What starts runs: what has arrived, and which of it is waited for."""
