"""Where an invoice's bytes come from."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import unquote, urlsplit

from muster.errors import SetAside
from muster.findings import Finding

MAX_BYTES = 20 * 1024 * 1024
"""Largest file that is read; an invoice of a thousand lines takes about one megabyte."""


def refusal(rule: str, message: str, *, path: str | None = None, remedy: str | None = None) -> SetAside:
    """The error for a file that cannot be read, with its one finding."""
    return SetAside(message, [Finding(rule=rule, message=message, path=path)], remedy=remedy)


def read_bytes(uri: str) -> bytes:
    """The bytes of a file, given by its path or `file://` URI.

    Raises:
        SetAside: the URI is of another kind, or the file is missing, empty, unreadable or too large.
    """
    path = _local_path(uri)
    try:
        if path.stat().st_size > MAX_BYTES:
            raise refusal("MU-FILE-TOO-LARGE", f"{path.name} is larger than {MAX_BYTES // 1024**2} MB.")
        data = path.read_bytes()
    except FileNotFoundError:
        raise refusal("MU-FILE-MISSING", f"There is no file {path}.") from None
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise refusal("MU-FILE-UNREADABLE", f"{path} cannot be read: {reason}.") from error
    if not data.strip():
        raise refusal("MU-FILE-EMPTY", f"{path.name} is empty.")
    return data


def _local_path(uri: str) -> Path:
    # Windows drive letters and plain names have no scheme worth the name.
    scheme = urlsplit(uri).scheme if "://" in uri else ""
    if not scheme:
        return Path(uri)
    parts = urlsplit(uri)
    if scheme == "file" and parts.netloc in ("", "localhost"):
        return Path(unquote(parts.path))
    raise refusal(
        "MU-URI-UNSUPPORTED",
        f"{uri} is not a file on this machine.",
        remedy="Give a path or a file:// URI; fetch remote files first.",
    )
