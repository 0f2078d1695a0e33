"""Agents: who they are, and the runner that lets one work."""
