"""Files are read strictly, and every mistake is at its place."""

from __future__ import annotations

import string
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from muster.language.problems import LanguageError, Problem
from muster.language.source import MAX_BYTES, parse_source, read_source


def problem_of(text: str | bytes) -> Problem:
    raw = text.encode() if isinstance(text, str) else text
    with pytest.raises(LanguageError) as caught:
        parse_source(raw, "a.yaml")
    (problem,) = caught.value.problems
    return problem


def test_scalars_are_those_of_yaml_1_2_and_leading_zeros_stay_text() -> None:
    text = "[1, -2, 1.5, 1e3, 0x1f, 0o17, 0012, no, on, 2026-01-31, 1:30, '5', null, ~, true, 1_000]"
    assert parse_source(text.encode()).data == [
        1, -2, 1.5, 1000.0, 31, 15, "0012", "no", "on", "2026-01-31", "1:30", "5", None, None, True, "1_000",
    ]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "line", "column", "message"),
    [
        (b"a: \xff", 1, 4, "not UTF-8"),
        (b"a: 1\nb: \xe4", 2, 4, "not UTF-8"),
        ("a: 1\nb:\n  c: 1\n  c: 2\n", 4, 3, "`c` is written twice"),
        ("a:\n\tb: 1\n", 2, 1, "tab"),
        ("a: 1\n---\nb: 2\n", 2, 1, "second document"),
        ("a: 1\n2: b\n", 2, 1, "key must be text"),
        ("true: b\n", 1, 1, "key must be text"),
        ("? [a]\n: b\n", 1, 3, "key must be text"),
        ("a: !!python/object:os.system x\n", 1, 4, "tag"),
        ("a: &x {b: 1}\nc: {<<: *x}\n", 2, 5, "merge keys"),
        ("a: &x [*x]\n", 1, 8, "no anchor"),
        ("a: *x\n", 1, 4, "no anchor"),
        ("a: .nan\n", 1, 4, "not a number"),
        ("a: 1e999\n", 1, 4, "not a number"),
        ("a: " + "9" * 5000 + "\n", 1, 4, "too long"),
        ("a: 'b\n", 1, 4, "quote is not closed"),
        ("a: b: c\n", 1, 5, "inside a text without quotes"),
        ("a: \x01\n", 1, 4, "control character"),
        ('a: "Letters come to D:\\01_inbox"\n', 1, 23, "`\\0` in double quotes is a control character"),
        ('a: 1\n"ü\\x00b": 1\n', 2, 3, "`\\x00` in double quotes"),
        ('a: "ü x\n   y \\\\0 \\u0000"\n', 2, 10, "`\\u0000` in double quotes"),
        ("", 1, 1, "empty"),
        ("# nothing\n", 1, 1, "empty"),
    ],
)
def test_what_nobody_means_is_refused_at_its_place(text: str | bytes, line: int, column: int, message: str) -> None:
    problem = problem_of(text)
    assert (problem.line, problem.column) == (line, column)
    assert message in problem.message


@pytest.mark.parametrize("opening", ["[", "{a: ", "- "])
def test_nesting_without_end_is_an_error_and_not_a_crash(opening: str) -> None:
    assert "nesting" in problem_of(opening * 50_000).message


def test_aliases_that_multiply_are_refused() -> None:
    rows = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    rows += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 9)]
    assert "aliases written out" in problem_of("\n".join(rows)).message


def test_tabs_line_breaks_and_backslashes_that_are_written_so_stay() -> None:
    text = r'{a: "tab\t\n\r \\0 \xe4", b: ' + r"'D:\01'}"
    assert parse_source(text.encode()).data == {"a": "tab\t\n\r \\0 ä", "b": r"D:\01"}


def test_what_was_published_before_control_characters_were_refused_can_still_be_read() -> None:
    assert parse_source(rb'a: "\0"', published=True).data == {"a": "\0"}


def test_an_alias_stands_for_its_value() -> None:
    assert parse_source(b"a: &x {b: [1, 2]}\nc: *x\n").data == {"a": {"b": [1, 2]}, "c": {"b": [1, 2]}}


def test_a_file_of_ten_megabytes_is_refused_before_it_is_parsed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def never(text: str) -> None:
        raise AssertionError("it was parsed")

    monkeypatch.setattr("muster.language.source.read_data", never)
    path = tmp_path / "big.yaml"
    path.write_bytes(b"a: 1\n" * 2_000_000)
    with pytest.raises(LanguageError, match="larger than 1 MB"):
        read_source(path)
    assert path.stat().st_size > MAX_BYTES


def test_a_file_that_cannot_be_read_is_a_problem_of_that_file(tmp_path: Path) -> None:
    with pytest.raises(LanguageError) as caught:
        read_source(tmp_path / "none.yaml", name="automations/none.yaml")
    assert caught.value.problems[0].where == "automations/none.yaml:1:1"


def test_problems_point_at_keys_values_and_lines_within_texts() -> None:
    source = parse_source(b"steps:\n  - id: a\n    ask: |\n      one\n      two\n    with: {x: yes}\n", "a.yaml")
    where = lambda *path, **options: source.problem("m", path, **options).where  # noqa: E731
    assert where("steps", 0, "id") == "a.yaml:2:9"
    assert where("steps", 0, "with", key=True) == "a.yaml:6:5"
    assert where("steps", 0, "with", "x") == "a.yaml:6:15"
    assert where("steps", 0, "ask") == "a.yaml:4:7"
    assert where("steps", 0, "ask", offset=1) == "a.yaml:5:7"
    assert where("steps", 0, "nowhere", "deeper") == "a.yaml:2:5"
    assert where("steps", 7) == "a.yaml:2:3"


YAMLISH = st.text(
    alphabet=string.ascii_letters + string.digits + " \n\t:-[]{}&*!|>'\"#%@`,?~.\\\x00é\u2028", max_size=200
)


@given(st.one_of(st.binary(max_size=200), YAMLISH.map(str.encode)))
@example(b"\xef\xbb\xbfa: 1")
@example(b"%YAML 9.9\n---\na")
@example(b"? ")
@example(b"- - -\n- ?")
@example(b'"\\ud800"')
def test_reading_anything_gives_data_or_located_problems_and_nothing_else(raw: bytes) -> None:
    try:
        found = [parse_source(raw).problem("m", ("a", 0))]
    except LanguageError as error:
        found = list(error.problems)
    assert found
    assert all(problem.line >= 1 and problem.column >= 1 and str(problem) for problem in found)
