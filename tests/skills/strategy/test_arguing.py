"""A debate is decided by how strong arguments are once all were heard."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from muster.errors import PermanentError
from muster.skills.strategy.arguing import Argument, Heard, Verdict, argue, weigh_arguments


def said(name: str, strength: float = 0.5, **about: str) -> Argument:
    return Argument(id=name, claim=name, strength=strength, **about)


def weighed(*arguments: Argument) -> dict[str, float]:
    return verdict(*arguments).strengths


def verdict(*arguments: Argument) -> Verdict:
    return weigh_arguments(argue(list(arguments), "for"), argue(list(arguments), "against"))


def test_the_values_are_those_of_the_source() -> None:
    assert weighed(said("o")) == {"o": 0.5}
    assert weighed(said("o"), said("s", 0.8, supports="o"))["o"] == pytest.approx(0.9)
    assert weighed(said("o"), said("a", 0.8, attacks="o"))["o"] == pytest.approx(0.1)
    both = weighed(said("o"), said("s", 0.8, supports="o"), said("a", 0.8, attacks="o"))
    assert both["o"] == pytest.approx(0.5)
    two = weighed(said("o"), said("s1", 0.5, supports="o"), said("s2", 0.5, supports="o"))
    assert two["o"] == pytest.approx(0.5 + 0.5 * 0.75)


def test_an_argument_that_is_refuted_counts_less() -> None:
    options = said("a"), said("b")
    assert verdict(*options, said("x", 0.9, supports="a"), said("y", 0.8, supports="b")).option == "a"
    refuted = verdict(*options, said("x", 0.9, supports="a"), said("y", 0.8, supports="b"), said("z", 0.9, attacks="x"))
    assert refuted.option == "b"
    assert refuted.why == ["for (0.80): y"]


@given(
    st.lists(
        st.tuples(st.floats(0, 1), st.booleans(), st.integers(0, 20)),
        max_size=20,
    )
)
def test_strengths_stay_between_0_and_1_and_the_same_debate_ends_the_same(
    entries: list[tuple[float, bool, int]],
) -> None:
    arguments = [said("a0", 0.5)]
    for number, (strength, supports, of) in enumerate(entries, 1):
        about = f"a{of % number}"
        arguments.append(said(f"a{number}", strength, **({"supports": about} if supports else {"attacks": about})))
    first = weighed(*arguments)
    assert all(0 <= value <= 1 for value in first.values())
    assert weighed(*arguments) == first


@pytest.mark.parametrize(
    ("arguments", "wrong"),
    [
        ([said("a", attacks="a")], "in a circle"),
        ([said("a", supports="b"), said("b", attacks="a")], "in a circle"),
        ([said("a"), said("b", supports="c")], "speaks of `c`, which is not there"),
        ([], "no option to choose"),
    ],
)
def test_a_debate_that_cannot_be_decided_is_refused_in_words(arguments: list[Argument], wrong: str) -> None:
    with pytest.raises(PermanentError, match=wrong):
        weigh_arguments(Heard(side="for", arguments=arguments), Heard(side="against", arguments=[]))
