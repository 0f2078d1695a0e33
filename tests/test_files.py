"""Files are there whole, or not there."""

from __future__ import annotations

import signal
import subprocess
import sys
from pathlib import Path

import pytest

from muster.files import write_whole

DIES_HALF_WAY = """
import resource, signal, sys
from pathlib import Path
from muster.files import write_whole
resource.setrlimit(resource.RLIMIT_FSIZE, (5000, 5000))
signal.signal(signal.SIGXFSZ, signal.SIG_DFL)
write_whole(Path(sys.argv[1]), "new" * 50_000)
"""


@pytest.mark.parametrize("before", [None, "old"])
def test_who_dies_half_way_leaves_what_was_there(tmp_path: Path, before: str | None) -> None:
    path = tmp_path / "folder" / "payment.xml"
    if before is not None:
        write_whole(path, before)
    died = subprocess.run([sys.executable, "-P", "-c", DIES_HALF_WAY, str(path)], check=False)
    assert died.returncode == -signal.SIGXFSZ
    assert (path.read_text() if path.exists() else None) == before
    write_whole(path, "zwölf €")
    assert path.read_text(encoding="utf-8") == "zwölf €"


def test_what_cannot_be_written_leaves_nothing_behind(tmp_path: Path) -> None:
    path = tmp_path / "report.html"
    with pytest.raises(UnicodeEncodeError):
        write_whole(path, "half a surrogate pair: \ud800")
    assert list(tmp_path.iterdir()) == []
