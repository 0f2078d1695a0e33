"""What a channel is: all that a module of `channels/` says, and everything else derives from it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from muster.yaml_model import YamlModel


@dataclass(frozen=True, kw_only=True)
class ChannelKind:
    """A channel: a way in which people are told."""

    name: str
    """The key under which a person writes where to."""
    title: str
    """What people call it."""
    place: int
    """Orders the channels in messages and on the page."""
    model: type[YamlModel]
    """What a person writes: `name`, which is one place or a list of them, `text`, and `subject` where notices have one.
    Its docstrings are the documentation."""
    carrier: str
    """What carries its notices, as a delivery names it."""
    connection: str
    """The Airflow connection it delivers through."""
    is_target: Callable[[str], bool] = bool
    """Whether a notice can be delivered there at all, before anybody tries."""
    wanted: str = "a place"
    """What it must be, in words: `one e-mail address`."""
    remedy: str | None = None
    """What to write in place of one that is wrong."""

    @property
    def has_subject(self) -> bool:
        """True when its notices have a subject beside their text."""
        return "subject" in self.model.model_fields
