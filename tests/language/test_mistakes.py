"""Typical mistakes, each with the place and the words that it gets: read them as somebody who has made one."""

from __future__ import annotations

from pathlib import Path

import pytest

from muster.language import load_folder

STEP = '  - id: tell\n    notify: [{ slack: "#a", text: hi }]\n'
HEAD = "automation: tested\n"
OBJECT = "inputs:\n  o: { type: object, properties: { name: { type: string } } }\n"

MISTAKES: dict[str, tuple[str, str, str, str]] = {
    "a quote that is not closed in a line": (
        HEAD + 'steps:\n  - id: tell\n    notify: [{ slack: "#a, text: "hi" }]\n',
        "4:23",
        "this quote is not closed where its text ends",
        "Close it at the end of the text.",
    ),
    "one that a later quote closes": (
        HEAD + 'title: "Two lines\ndescription: "of it"\nsteps:\n' + STEP,
        "2:8",
        "this quote is not closed where its text ends",
        "Close it at the end of the text.",
    ),
    "one that nothing closes": (
        HEAD + "title: 'It\nsteps:\n" + STEP,
        "2:8",
        "this quote is not closed where its text ends",
        "Close it at the end of the text.",
    ),
    "one that takes in the next key": (
        HEAD + 'steps:\n  - id: tell\n    when: "{{ inputs.a }}\n    notify: [{ slack: "#a", text: hi }]\n',
        "4:11",
        "a quote is not closed: the text of `when` goes on to `notify:`",
        "Close it at the end of the text.",
    ),
    "double quotes inside double quotes": (
        HEAD + 'steps:\n  - id: tell\n    notify: [{ slack: "#a", text: "{{ now | date("%Y") }}" }]\n',
        "4:35",
        'the text ends inside its expression, at the next `"`',
        "Write single quotes inside of it.",
    ),
    "an expression without quotes": (
        HEAD + "inputs: { x: { type: array } }\nsteps:\n  - id: tell\n    each: {{ inputs.x }}\n    notify: []\n",
        "5:11",
        "an expression must stand in quotes",
        'Write "{{ inputs.x }}".',
    ),
    "an expression without quotes at the beginning of a value": (
        HEAD + "steps:\n  - id: tell\n    when: {{ inputs.x }} > 3 # often\n    notify: []\n",
        "4:11",
        "an expression must stand in quotes",
        'Write "{{ inputs.x > 3 }}".',
    ),
    "a path of Windows in double quotes": (
        HEAD + 'settings: { folder: "C:\\data" }\nsteps:\n' + STEP,
        "2:24",
        r"YAML knows no `\d` in double quotes",
        r"Write `\\d`, or put the text in single quotes.",
    ),
    "one that looks like a character's number": (
        HEAD + 'settings: { folder: "C:\\users" }\nsteps:\n' + STEP,
        "2:24",
        r"YAML knows no `\u` in double quotes",
        r"Write `\\u`, or put the text in single quotes.",
    ),
    "a regular expression in double quotes": (
        HEAD + 'settings:\n  re: "\\d+"\nsteps:\n' + STEP,
        "3:8",
        r"YAML knows no `\d` in double quotes",
        r"Write `\\d`, or put the text in single quotes.",
    ),
    "one in braces": (
        HEAD + 'steps:\n  - id: tell\n    notify: [{ slack: "#a", text: {{ inputs.x }} }]\n',
        "4:35",
        "an expression must stand in quotes",
        'Write "{{ inputs.x }}".',
    ),
    "a colon inside a text": (
        HEAD + "title: Note: this\nsteps:\n" + STEP,
        "2:12",
        "a `: ` stands inside a text without quotes",
        'Put quotes around the text: `title: "Note: this"`.',
    ),
    "a line that is indented too far": (
        HEAD + "title: Two\n  description: of it\nsteps:\n" + STEP,
        "3:14",
        "this line is indented as if it belonged to the value above it",
        "Indent it as the lines beside it, or leave the line above without a value.",
    ),
    "a tab": (HEAD + "steps:\n\t- id: tell\n", "3:1", "a tab is used for indentation", "Indent with spaces."),
    "a number for `retry`": (
        HEAD + "steps:\n  - id: job\n    skill: a.b\n    retry: 3\n",
        "5:12",
        "`retry` must be a mapping (lines of `key: value`), not `3`",
        "Write `retry: { times: 3 }`.",
    ),
    "the type of an input alone": (
        HEAD + "inputs: { n: string }\nsteps:\n" + STEP,
        "2:14",
        "`n` must be a mapping (lines of `key: value`), not the text `string`",
        "Write `n: { type: string }`.",
    ),
    "a schedule at the top": (
        HEAD + 'schedule: "@daily"\nsteps:\n' + STEP,
        "2:1",
        "unknown key `schedule`",
        'It stands under `triggers`: `triggers: [{ schedule: "@daily" }]`.',
    ),
    "dag-factory's `depends_on`": (
        HEAD + "steps:\n  - id: job\n    skill: a.b\n    depends_on: [x]\n",
        "5:5",
        "unknown key `depends_on`",
        "It is `after`.",
    ),
    "Airflow's `retries`": (
        HEAD + "steps:\n  - id: job\n    skill: a.b\n    retries: 3\n",
        "5:5",
        "unknown key `retries`",
        "It is `retry`: `retry: { times: 3 }`.",
    ),
    "dag-factory's `tasks`": (HEAD + "tasks:\n" + STEP, "2:1", "unknown key `tasks`", "It is `steps`."),
    "Airflow's `catchup`": (
        HEAD + "catchup: false\nsteps:\n" + STEP,
        "2:1",
        "unknown key `catchup`",
        "Nothing is ever caught up: leave it out.",
    ),
    "a step of dag-factory's": (
        HEAD + "steps:\n  - id: job\n    python_callable: f\n",
        "4:5",
        "unknown key `python_callable`",
        "Write a skill: a typed Python function that `skill` names.",
    ),
    "`attempts` of a retry": (
        HEAD + "steps:\n  - id: job\n    skill: a.b\n    retry: { attempts: 3 }\n",
        "5:14",
        "unknown key `attempts`",
        "It is `times`.",
    ),
    "`strftime` as a filter": (
        HEAD + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ run.started_at | strftime }}' }]\n",
        "4:35",
        "there is no filter `strftime`",
        "Use the filter `| date`.",
    ),
    "`strftime` as a method": (
        HEAD + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ run.started_at.strftime(1) }}' }]\n",
        "4:35",
        "`strftime(…)` cannot be called",
        "Use the filter `| date`.",
    ),
    "Airflow's `params`": (
        HEAD + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ params.name }}' }]\n",
        "4:35",
        "there is no variable `params`",
        "It is `inputs`.",
    ),
    "a property that an input does not declare": (
        HEAD + OBJECT + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ inputs.o.nme }}' }]\n",
        "6:35",
        "`inputs.o` declares no `nme`",
        "Did you mean `name`?",
    ),
    "a property of a text": (
        HEAD + OBJECT + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ inputs.o.name.first }}' }]\n",
        "6:35",
        "`inputs.o.name` is string, which has no `first`",
        "",
    ),
    "a list that is a text": (
        HEAD
        + OBJECT
        + "steps:\n  - id: tell\n    each: '{{ inputs.o.name }}'\n    notify: [{ slack: '#a', text: hi }]\n",
        "6:11",
        "`inputs.o.name` is string, which is no list",
        "",
    ),
    "Airflow's `ti`": (
        HEAD + "steps:\n  - id: tell\n    notify: [{ slack: '#a', text: '{{ ti.value }}' }]\n",
        "4:35",
        "there is no variable `ti`",
        "It is `steps`.",
    ),
}


FREE = (
    "{ type: object }",
    "{ type: object, properties: { a: { type: string } }, additionalProperties: true }",
    "{ anyOf: [{ type: object }, { type: string }] }",
    "{ type: [object, 'null'], properties: { nme: { type: array } } }",
    "{}",
)


@pytest.mark.parametrize("schema", FREE)
def test_what_a_schema_leaves_open_may_be_there(schema: str, tmp_path: Path) -> None:
    (tmp_path / "automations").mkdir()
    steps = "steps:\n  - id: tell\n    each: '{{ inputs.o.nme }}'\n    notify: [{ slack: '#a', text: hi }]\n"
    (tmp_path / "automations" / "tested.yaml").write_text(f"{HEAD}inputs:\n  o: {schema}\n{steps}")
    assert load_folder(tmp_path).problems == []


@pytest.mark.parametrize("mistake", MISTAKES)
def test_a_typical_mistake_is_told_at_its_place_with_what_to_write(mistake: str, tmp_path: Path) -> None:
    text, where, message, suggestion = MISTAKES[mistake]
    (tmp_path / "automations").mkdir()
    (tmp_path / "automations" / "tested.yaml").write_text(text)
    found = load_folder(tmp_path).problems
    said = [
        (problem.where.partition(":")[2], problem.message.partition(": the text ends in")[0], problem.suggestion or "")
        for problem in found
    ]
    assert (where, message, suggestion) in said, "\n\n".join(map(str, found))
