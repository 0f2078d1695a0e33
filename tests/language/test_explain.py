"""What does not fit the models is said in words, at its place."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest

from muster.language.reserved import RESERVED_KEYS

Problems = Callable[[str], list[str]]

STEP = "automation: a\nsteps:\n  - id: s\n    skill: office.read_letter\n    with: {uri: x}\n"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("automation: a\n", "1:1: `steps` is missing"),
        ("- a\n", "1:1: the file must be a mapping"),
        ("text\n", "1:1: the file must be a mapping"),
        (STEP + "tilte: x\n", "6:1: unknown key `tilte` Did you mean `title`?"),
        (STEP + "title: 12\n", "6:8: `title` must be text, not `12` Put it in quotes"),
        (STEP + "steps2: 1\n", "6:1: unknown key `steps2` Did you mean `steps`?"),
        (STEP + "budget: {usd: -1}\n", "6:15: `usd` must be at least 0"),
        (
            STEP + "budget: 3\n",
            "6:9: `budget` must be a mapping (lines of `key: value`), not `3` Write `budget: { usd: 3 }`",
        ),
        (STEP + "inputs: [a]\n", "6:9: `inputs` must be a mapping"),
        (STEP + "inputs: {Aa: {}}\n", "6:10: `Aa` is not a name"),
        (STEP + "deadlines: [{within: 3, notify: [{slack: '#a'}]}]\n", "6:22: `within` must be a duration"),
        (STEP + "    retry: {times: 1.5}\n", "6:20: `times` must be a whole number, not `1.5`"),
        (STEP + "    retry: {times: true}\n", "6:20: `times` must be a whole number, not true"),
        (STEP + "    retry: {times: '3'}\n", "6:20: `times` must be a whole number, not the text `3`"),
        (STEP + "    retry: {times: 1, dealy: 3s}\n", "6:23: unknown key `dealy` Did you mean `delay`?"),
        (STEP + "    retri: {times: 1}\n", "6:5: unknown key `retri` Did you mean `retry`?"),
        (
            STEP + "    lane: wroker\n",
            "6:11: `lane` must be `async` or `worker`, not the text `wroker` Did you",
        ),
        (STEP + "    when: 3\n", "6:11: `when` must be an expression"),
        (STEP + "    each: 3\n", "6:11: `each` must be a list"),
        (
            STEP + "    each: []\n    pack: some\n",
            "7:11: `pack` must be a whole number from 1 to 10,000, `all` or `auto`",
        ),
        (STEP + "    after: [1]\n", "6:12: `after` must be text, or a list of texts"),
        (STEP + "    agent: clerk\n", "6:5: exactly one of"),
        (STEP + "    branch: []\n", "6:5: exactly one of"),
        (STEP + "    fallback: {}\n", "6:15: one of `skill` or `agent` is missing"),
        (STEP + "  - id: t\n", "6:5: one of `skill`, `agent`"),
        (STEP + "  - id: t\n    skil: x.y\n", "7:5: unknown key `skil` Did you mean `skill`?"),
        (
            STEP + "  - just text\n",
            "6:5: entry 2 must be a mapping (lines of `key: value`), not the text `just text`",
        ),
        (STEP + "  - id: T 1\n    skill: x.y\n", "6:9: `T 1` is not a name"),
        (STEP + "  - id: t\n    skill: read\n", "7:12: `read` is not a skill's name"),
        (STEP + "  - id: t\n    operator: Bash\n", "7:15: `Bash` is not an import path"),
        (STEP + "  - id: t\n    human: {ask: x}\n", "7:12: `assignees` is missing"),
        (
            STEP + "  - id: t\n    human: {ask: x, assignees: [a], otherwise: approve}\n",
            "7:48: `otherwise` must be `reject`, not the text `approve`",
        ),
        (
            STEP + "  - id: t\n    human: {ask: x, assignees: [a]}\n    pack: 3\n",
            "8:5: a human step takes no `pack` Only `skill`, `agent`, `team`, `notify` or `operator` steps take it.",
        ),
        (STEP + "  - id: t\n    notify: []\n", "7:13: `notify` must not be empty"),
        (STEP + "  - id: t\n    notify: [{mail: x}]\n", "7:15: unknown key `mail` Did you mean `email`?"),
        (STEP + "    retries: 3\n", "6:5: unknown key `retries` It is `retry`"),
        (
            STEP + "  - id: t\n    human: {ask: x, assignees: [a]}\n    retries: 3\n",
            "8:5: unknown key `retries` Known here",
        ),
        (STEP + "  - id: t\n    human: {ask: x, assignees: [a]}\n    type: x\n", "8:5: unknown key `type` Known here"),
        (STEP + "  - id: t\n    type: x\n", "7:5: unknown key `type` It is `operator` for one"),
        (STEP + "triggers: [{schedul: x}]\n", "6:13: unknown key `schedul` Did you mean `schedule`?"),
    ],
)
def test_mistakes_of_shape_are_located_and_said_in_words(problems: Problems, text: str, expected: str) -> None:
    (said,) = problems(text)
    assert said.startswith(expected)


@pytest.mark.parametrize(
    ("line", "suggested"),
    [
        ("    retry: 3 times\n", "retry: { times: 3 }"),
        ("    retry: true\n", "retry: { times: 3 }"),
        ("budget: $5\n", "budget: { usd: 5 }"),
        ("inputs: {n: true}\n", "n: { type: boolean, default: true }"),
        ("inputs: {n: text}\n", "n: { type: string }"),
        ("inputs: {n: 5}\n", "n: { type: integer, default: 5 }"),
        ("deadlines: 4h\n", 'deadlines: [{ within: 4h, notify: [{ slack: "#office" }] }]'),
        ("deadlines: [4h]\n", '{ within: 4h, notify: [{ slack: "#office" }] }'),
        ("triggers: ['@daily']\n", '{ schedule: "@daily" }'),
        ("    timeout: PT1H30M\n", "1h30m"),
        ("    timeout: 2 hours\n", "2h"),
        ("budget: {usd: '0,50'}\n", "0.50"),
        ("    irreversible: no\n", "false"),
    ],
)
def test_nothing_is_suggested_that_would_be_refused(
    problems: Problems, define: Callable[[str], object], line: str, suggested: str
) -> None:
    (said,) = problems(STEP + line)
    assert said.endswith(f"Write `{suggested}`.")
    value = re.split(r": |[\[{}\]]", line.strip().rstrip("]}"))[-1]
    key = suggested.partition(":")[0]
    wrong = f"{key}: {value}" if f"{key}: {value}" in line else value
    define(STEP + line.replace(wrong, suggested))


@pytest.mark.parametrize("text", ["3 months", "PT", "soon", "5 minutes ago", "3h 2d"])
def test_no_duration_is_guessed_that_may_be_another(problems: Problems, text: str) -> None:
    (said,) = problems(STEP + f"    timeout: {text}\n")
    assert "Write" not in said


@pytest.mark.parametrize("word", RESERVED_KEYS["step"])
def test_words_that_come_later_are_refused_by_name_as_a_step_and_beside_one(problems: Problems, word: str) -> None:
    assert problems(f"automation: a\nsteps:\n  - id: s\n    {word}: x\n") == [f"4:5: `{word}` is not available yet"]
    assert problems(STEP + f"    {word}: x\n") == [f"6:5: `{word}` is not available yet"]


@pytest.mark.parametrize("word", RESERVED_KEYS["trigger"])
def test_triggers_that_come_later_are_refused_by_name(problems: Problems, word: str) -> None:
    assert problems(STEP + f"triggers: [{{{word}: x}}]\n") == [f"6:13: `{word}` is not available yet"]


def test_every_mistake_of_a_file_is_said_at_once(problems: Problems) -> None:
    said = problems(STEP + "tilte: x\nownr: y\nbudget: {usd: a}\n")
    assert [re.match(r"\d+", line)[0] for line in said] == ["6", "7", "8"]  # type: ignore[index]
