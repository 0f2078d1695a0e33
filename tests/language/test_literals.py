"""What stands in the file as it is, is judged as the skill will when it is called."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from muster.errors import PermanentError
from muster.language.literals import fits
from muster.skills.registry import get_skill

VALUES: list[Any] = [
    None, True, 0, 5, 1.0, 1.5, "", "5", "abc", "true", "fast", [], [1], ["1"], ["a"], [1, None],
    {}, {"a": 1}, {"a": "b"},
]  # fmt: skip
KNOWN = [
    "str", "int", "float", "bool", "list", "dict", "list[int]", "list[str | None]", "dict[str, int]", "int | None",
    "tuple[int, ...]", "Literal['fast', 5]", "Any", "str | list[str]", "set[int]",
]  # fmt: skip


@pytest.mark.parametrize("annotation", KNOWN)
def test_a_literal_is_refused_exactly_where_the_call_would_be(tmp_path: Path, annotation: str) -> None:
    (tmp_path / "office.py").write_text(
        "from typing import Any, Literal\nfrom muster.skills import skill\n\n"
        f'@skill("office.take")\ndef take(x: {annotation}) -> None:\n    """Takes it."""\n'
    )
    skill = get_skill("office.take", tmp_path)
    for value in VALUES:
        try:
            skill.arguments({"x": value})
            taken = True
        except PermanentError:
            taken = False
        assert fits(value, annotation) == taken, value


@pytest.mark.parametrize("annotation", ["Decimal", "Sequence[str]", "'str'", "int | Path", "list[Own]", "list[", "x.y"])
def test_what_would_have_to_be_imported_is_not_judged(annotation: str) -> None:
    assert all(fits(value, annotation) for value in VALUES)


@pytest.mark.parametrize("value", ["{{ inputs.n }}", ["a", "{{ item }}"], {"a": {"b": "{{ run.id }}"}}])
def test_nor_is_what_an_expression_gives(value: Any) -> None:
    assert fits(value, "int")
