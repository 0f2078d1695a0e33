"""Programs outside of Muster: each in a workspace of its own, held to its limits, ended with all it has begun."""
