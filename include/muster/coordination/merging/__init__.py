"""Merges what several agents made of one thing: cleanly, or not at all. Nothing here does I/O."""

from __future__ import annotations

from muster.coordination.merging.choices import Ballots, Dated, VoteOpen, highest_compatible, newest, prefixed, vote
from muster.coordination.merging.outcome import Difference, Merged, Unmerged
from muster.coordination.merging.records import ABSENT, merge_records, same
from muster.coordination.merging.text import merge_files, merge_text

__all__ = [
    "ABSENT",
    "Ballots",
    "Dated",
    "Difference",
    "Merged",
    "Unmerged",
    "VoteOpen",
    "highest_compatible",
    "merge_files",
    "merge_records",
    "merge_text",
    "newest",
    "prefixed",
    "same",
    "vote",
]
