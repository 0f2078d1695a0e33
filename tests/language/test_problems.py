"""Problems are written as editors and people read them."""

from __future__ import annotations

from muster.language.problems import LanguageError, Problem, did_you_mean, one_of


def test_a_problem_shows_the_place_the_line_a_caret_and_the_suggestion() -> None:
    problem = Problem("a.yaml", 12, 5, "unknown key `retri`", "Did you mean `retry`?", "    retri: 3", 5)
    assert str(problem).splitlines() == [
        "a.yaml:12:5: unknown key `retri`",
        "   12 |     retri: 3",
        "      |     ^^^^^",
        "Did you mean `retry`?",
    ]


def test_a_long_line_is_cut_around_the_spot() -> None:
    problem = Problem("a.yaml", 1, 5001, "m", None, "x" * 5000 + "HERE" + "y" * 5000, 4)
    _, line, caret = str(problem).splitlines()
    assert len(line) < 150
    assert line[caret.index("^") : caret.index("^") + 4] == "HERE"


def test_control_characters_of_a_file_do_not_reach_the_terminal() -> None:
    assert "\x1b" not in str(Problem("a.yaml", 1, 1, "m", None, "a\x1b[31m\tb"))


def test_an_error_holds_its_problems_in_the_order_of_the_file() -> None:
    first, second = Problem("a.yaml", 2, 1, "first"), Problem("a.yaml", 10, 1, "second")
    error = LanguageError([second, first])
    assert error.problems == (first, second)
    assert str(error).index("first") < str(error).index("second")


def test_only_near_words_are_suggested() -> None:
    assert did_you_mean("retri", ["retry", "with"]) == "Did you mean `retry`?"
    assert did_you_mean("zzz", ["retry", "with"]) is None
    assert one_of(["a", "b", "c"]) == "`a`, `b` or `c`"
