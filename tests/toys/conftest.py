"""Fixtures of what is played with toys."""

from __future__ import annotations
