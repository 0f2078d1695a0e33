"""A notice is safe to send whatever data it was made from."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import PermanentError
from muster.notifications import Notice
from muster.notifications.slack import MAX_TEXT, slack_text


def make(**changes: Any) -> Notice:
    """A valid e-mail notice with some fields changed."""
    return Notice(
        **{"channel": "email", "target": "ops@example.com", "subject": "Late", "text": "Body", "key": "k"} | changes
    )


@pytest.mark.parametrize("break_", ["\r\n", "\n", "\r", "\x00", "\x85", "\u2028", "\x1b"])
def test_a_subject_cannot_smuggle_in_a_header(break_: str) -> None:
    with pytest.raises(PermanentError, match="one line"):
        make(subject=f"Invoice{break_}Bcc: everybody@example.com")


@pytest.mark.parametrize(
    "target",
    [
        "ops@example.com\r\nBcc: x@example.com",
        "ops@example.com, x@example.com",
        "ops@example.com; x@example.com",
        "ops",
        "@example.com",
        "ops@",
        "Ops <ops@example.com>",
        "ops@example.com x@example.com",
        "ops@localhost",
        "<>",
    ],
)
def test_only_one_plain_address_is_an_email_target(target: str) -> None:
    with pytest.raises(PermanentError):
        make(target=target)


@pytest.mark.parametrize(
    "changes",
    [{"channel": "pigeon"}, {"text": None}, {"target": ""}, {"cc": "x@example.com"}, {"text": ["a"]}],
)
def test_a_notice_that_makes_no_sense_is_refused_for_good(changes: dict[str, Any]) -> None:
    with pytest.raises(PermanentError, match=next(iter(changes))):
        make(**changes)


def test_a_text_that_is_only_a_number_is_sent_as_it_reads() -> None:
    assert make(text=42).text == "42"


def test_the_message_id_depends_on_the_key_alone() -> None:
    first, second = make(text="a"), make(text="b", subject="other")
    assert first.message_id("example.com") == second.message_id("example.com")
    assert first.message_id("example.com") != make(key="k2").message_id("example.com")


def test_a_missing_subject_is_the_first_line_of_the_text() -> None:
    assert make(subject="", text="\n  \nPosted 3 invoices\nmore").headline == "Posted 3 invoices"
    assert make(subject="", text="").headline == "Notice"


def test_text_that_the_database_cannot_hold_is_made_visible() -> None:
    assert make(text="a\x00b\ud800c\nd").text == "a\ufffdb\ufffdc\nd"


def test_slack_text_cannot_mention_or_link() -> None:
    text = slack_text(make(text="<!channel> R&D <https://example.com|ok>"))
    assert text == "&lt;!channel&gt; R&amp;D &lt;https://example.com|ok&gt;"


@given(st.text(alphabet="&<>ab", min_size=0, max_size=40).map(lambda part: part * 2000))
def test_a_long_slack_text_is_cut_without_splitting_an_escape(text: str) -> None:
    sent = slack_text(make(text=text))
    assert len(sent) <= MAX_TEXT + 2
    restored = sent.removesuffix(" …").replace("&lt;", "<").replace("&gt;", ">").replace("&amp;", "&")
    assert text.startswith(restored)
