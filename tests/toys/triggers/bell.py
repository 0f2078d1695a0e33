"""Bells that were rung, and who has heard them."""

from __future__ import annotations

from muster.files import site_path


def ring(name: str) -> None:
    """Ring a bell: it is heard once, however often it was rung before that."""
    bells = site_path("bells")
    bells.mkdir(exist_ok=True)
    (bells / name).touch()


def heard(name: str) -> bool:
    """True when the bell was rung and nobody had heard it."""
    try:
        (site_path("bells") / name).unlink()
    except FileNotFoundError:
        return False
    return True
