"""Files for people and other programs: there whole, or not there."""

from __future__ import annotations

import os
from pathlib import Path
from secrets import token_hex


def write_whole(path: Path, text: str) -> None:
    """Write a file in UTF-8, and the folders it is in; whoever dies meanwhile leaves the old one, or none.

    Raises:
        OSError: there is no room for it, or it may not be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    # A name of its own: two that write the same file at once do not write into each other's.
    draft = path.with_name(f".{path.name}.{token_hex(4)}.part")
    try:
        with draft.open("w", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        draft.replace(path)
    finally:
        draft.unlink(missing_ok=True)
