"""The installation's key is made once, kept closed, and signs what can be checked anywhere."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from muster.errors import MusterError
from muster.events.signing import KEY, Checker, Signer, fingerprint


def test_a_signature_holds_for_its_text_and_its_key_only(tmp_path: Path) -> None:
    signer, other = Signer(tmp_path / "a"), Signer(tmp_path / "b")
    signature = signer.sign("‹text›")
    assert Checker(signer.public).valid("‹text›", signature)
    assert not Checker(signer.public).valid("‹test›", signature)
    assert not Checker(other.public).valid("‹text›", signature)
    assert not Checker(signer.public).valid("‹text›", "no base64")
    assert Checker(signer.public).fingerprint == fingerprint(signer.public) != fingerprint(other.public)


def test_the_key_is_made_once_and_closed_to_everybody_else(tmp_path: Path) -> None:
    with ThreadPoolExecutor(8) as pool:
        keys = {signer.public for signer in pool.map(lambda _: Signer(tmp_path / "state"), range(16))}
    assert keys == {Signer(tmp_path / "state").public}
    assert [path.name for path in (tmp_path / "state").iterdir()] == [KEY]
    assert (tmp_path / "state" / KEY).stat().st_mode & 0o777 == 0o600


def test_a_broken_key_is_never_replaced(tmp_path: Path) -> None:
    (tmp_path / KEY).write_text("broken")
    with pytest.raises(MusterError, match="is no key for Ed25519"):
        Signer(tmp_path)
    assert (tmp_path / KEY).read_text() == "broken"
