"""What an automation says must fit together, and fit its surroundings."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from muster.language import Definition
from muster.language.kinds.operator import operator_allowed

Problems = Callable[[str], list[str]]
Define = Callable[[str], Definition]

READ = "  - id: read\n    skill: office.read_letter\n    with: {uri: x}\n"
HEAD = "automation: a\nsteps:\n" + READ
EMPTY = "airflow.providers.standard.operators.empty.EmptyOperator"
TRIGGER = "airflow.providers.standard.operators.trigger_dagrun.TriggerDagRunOperator"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        (
            HEAD.replace("automation: a", "automation: muster_reconciler"),
            "1:13: `muster_reconciler` is the name of a Dag of Muster's own Choose another one.",
        ),
        (HEAD + READ, "6:9: there are two steps `read`; the first is in line 3 Rename"),
        (
            HEAD + "    each: [1, 2]\n  - {id: read_1, notify: [{slack: '#ops', text: x}]}\n",
            "7:10: `read_1` is also what Airflow calls item 1 of the fan-out `read` Rename one of the two steps.",
        ),
        (
            "automation: a\nsteps:\n" + READ.replace("read\n", "close\n", 1),
            "3:9: `close` is a name Muster uses",
        ),
        (HEAD + "    timeout: 0s\n", "6:14: `timeout` is `0s`: no work can be done in no time"),
        (
            HEAD + "deadlines: [{within: 0h0m, notify: [{slack: '#x'}]}]\n",
            "6:22: `within` is `0h0m`: nobody can keep to it",
        ),
        (
            HEAD + "triggers: [{files: {path: /x, every: 0s}}]\ninputs: {l: {type: array, default: []}}\n",
            "6:38: `every` is `0s`: there would be no pause between two looks",
        ),
        (HEAD + "    lock: []\n", "6:11: `lock` names nothing"),
        (HEAD + "    lock: ['a', ' ']\n", "6:11: `lock` names nothing"),
        (
            HEAD + "checks:\n  - {name: x, sql: select 1}\n  - {name: x, sql: select 2}\n",
            "8:12: there are two checks `x` Rename one of them.",
        ),
        (
            HEAD + "inputs: {muster_parent: {type: object, default: {}}}\n",
            "6:10: `muster_parent` is a name Muster uses itself, so this input would never be given",
        ),
        (HEAD + "    after: [raed]\n", "6:13: there is no step `raed` Did you mean `read`?"),
        (HEAD + "    after: raed\n", "6:12: there is no step `raed` Did you mean `read`?"),
        (HEAD + "    after: read\n", "6:5: these steps wait for each other: read → read"),
        (HEAD + "    after: b\n  - id: b\n    branch: [{to: []}]\n", "6:5: these steps wait for each other"),
        (
            HEAD + "  - id: b\n    branch: [{to: raed}]\n",
            "7:19: there is no step `raed` Did you mean `read`?",
        ),
        (
            HEAD + "  - id: b\n    branch: [{to: []}, {when: true, to: []}]\n",
            "7:14: this way has no `when`, so those below it are never taken",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a], within: 4h, remind: [1h, 4h]}}\n",
            "6:70: `4h` is never reached: no answer within `4h` is a rejection",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a], within: 4h, escalate: [{after: 5h, to: b}]}}\n",
            "6:76: `5h` is never reached",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a], escalate: [{after: 5h, to: []}]}}\n",
            "6:72: it is escalated to nobody: `to` is empty",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a, a], approvals: 2}}\n",
            "6:59: 2 people have to approve, and only 1 may answer Name more people",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: ['a ', a], approvals: 2}}\n",
            "6:62: 2 people have to approve, and only 1 may answer Name more people",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a, ' ']}}\n",
            "6:44: a person has no empty user name: nobody could answer",
        ),
        (
            HEAD + "  - {id: b, notify: [{slack: '#a', text: x}, {email: [a@b.de, 'B <b@b.de>'], text: x}]}\n",
            "6:63: `B <b@b.de>` is not one e-mail address Write the address alone",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a], notify: [{email: office}]}}\n",
            "6:62: `office` is not one e-mail address",
        ),
        (
            HEAD + "deadlines: [{within: 1h, notify: [{email: 'a@b.de, b@b.de'}]}]\n",
            "6:43: `a@b.de, b@b.de` is not one e-mail address",
        ),
        (HEAD + "incidents: [{email: [a@b.de, b]}]\n", "6:30: `b` is not one e-mail address"),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: 'anna, ben'}}\n",
            "6:40: `anna, ben` is one user name: nobody could answer Write a list: `[anna, ben]`.",
        ),
        (
            HEAD + "  - {id: b, human: {ask: x, assignees: [a], escalate: [{after: 5h, to: [b, '']}]}}\n",
            "6:76: a person has no empty user name",
        ),
        (
            HEAD.replace("uri: x", "uri: [x]"),
            "5:17: the skill `office.read_letter` takes `str` as `uri`, not a list",
        ),
        (
            HEAD + "    compensate: {skill: office.read_letter, with: {uri: 5}}\n",
            "6:57: the skill `office.read_letter` takes `str` as `uri`, not `5`",
        ),
        (
            HEAD + "    each: abc\n",
            '6:11: `each` is text, which is no list Write one expression, for example `each: "{{',
        ),
        (
            "inputs: {letters: {type: array}}\n" + HEAD + "    each: inputs.letters\n",
            '7:11: `each` is text, which is no list Write `each: "{{ inputs.letters }}"`.',
        ),
        (
            HEAD + '    each: "{{ [1, 2] }},"\n',
            '6:11: `each` is text, which is no list Write one expression, for example `each: "{{',
        ),
        (
            HEAD + "    retry: {times: 2, on: {rate_limt: {times: 8}}}\n",
            "6:28: must be `rate_limit`, `overload`, `timeout`, `auth`, `bad_request`, `bad_output` or `transient`,"
            " not the text `rate_limt` Did you mean `rate_limit`?",
        ),
        (HEAD + "    retry: {times: 2, on: {timeout: {time: 8}}}\n", "6:38: unknown key `time` Did you mean `times`?"),
        (HEAD + '    when: "{{ steps.raed }}"\n', "6:11: there is no step `raed` Did you mean `read`?"),
        (HEAD + '    when: "{{ steps.read }}"\n', "6:11: the step uses the output of itself"),
        (
            HEAD.replace("uri: x", 'uri: "{{ steps.b }}"') + "  - id: b\n    branch: [{to: []}]\n",
            "5:17: the step uses the output of `b`, which does not come before it Write `after: b`",
        ),
        (HEAD + "    when: |\n      {{ true\n      and foo }}\n", "8:7: there is no variable `foo`"),
        (HEAD + '    when: "{{ true"\n', "6:11: not an expression: it is not closed"),
        (HEAD + '    when: "{{ {1 } }}"\n', "6:11: not an expression: `}` cannot stand here"),
        (HEAD + '    when: "{{ inputs.x }}"\n', "6:11: there is no input `x`"),
        (
            HEAD + "    when: settings.n > 3\nsettings: {n: 1}\n",
            '6:11: `when` is text, which is neither true nor false Write `when: "{{ settings.n > 3 }}"`.',
        ),
        (
            HEAD + "    when: \"{{ settings.n }} > '3'\"\nsettings: {n: 1}\n",
            """6:11: `when` is text, which is neither true nor false Write `when: "{{ settings.n > '3' }}"`.""",
        ),
        (
            HEAD + "    when: 'settings.n == \"x\"'\nsettings: {n: 1}\n",
            "6:11: `when` is text, which is neither true nor false Write `when: '{{ settings.n == \"x\" }}'`.",
        ),
        (HEAD + "    when: 'false'\n", "6:11: `when` is text, which is neither true nor false Write `when: false`,"),
        (HEAD + "    when: \"{{ 'false' }}\"\n", "6:11: `when` is text, which is neither true nor false Write one"),
        (
            HEAD + '    when: "{{ inputs.s }}"\ninputs: {s: {type: string}}\n',
            '6:11: `inputs.s` is text, which is neither true nor false Compare it, for example `inputs.s == "yes"`.',
        ),
        (
            HEAD + '    when: "{{ inputs.s and run.id }}"\ninputs: {s: {type: string}}\n',
            '6:11: `inputs.s` is text, which is neither true nor false Compare it, for example `inputs.s == "yes"`.',
        ),
        (
            HEAD
            + "  - id: sort\n    agent: clerk\n    ask: x\n"
            + "    returns: {type: object, properties: {kind: {type: string}}}\n"
            + '  - id: b\n    skill: office.read_letter\n    with: {uri: x}\n    when: "{{ not steps.sort.kind }}"\n',
            "13:11: `steps.sort.kind` is text, which is neither true nor false Compare it, for example"
            ' `steps.sort.kind == "yes"`.',
        ),
        (
            HEAD + '    when: "{{ (inputs.s and 1 > 0) == true }}"\ninputs: {s: {type: string}}\n',
            '6:11: `inputs.s` is text, which is neither true nor false Compare it, for example `inputs.s == "yes"`.',
        ),
        (
            HEAD + '    when: "{{ [inputs.s] | select(*[]) | length > 0 }}"\ninputs: {s: {}}\n',
            "6:11: `*` and `**` give no arguments here Write each of them, for example `select(",
        ),
        (
            HEAD + "    when: \"{{ not (settings.n or 'no') }}\"\nsettings: {n: 1}\n",
            "6:11: an operand of `and`, `or`, `not` or `if` is text, which is neither true nor false Compare it",
        ),
        (
            HEAD
            + "  - id: b\n    branch: [{when: '{{ not inputs.s }}', to: []}, {to: []}]\ninputs: {s: {type: string}}\n",
            "7:21: `inputs.s` is text, which is neither true nor false",
        ),
        (HEAD + "    when: yes please\n", "6:11: `when` is text, which is neither true nor false Write one"),
        (HEAD + "    when: ''\n", "6:11: `when` is text, which is neither true nor false Write one"),
        (
            HEAD + "    when: \"{{ run.id ~ 'x' }}\"\n",
            "6:11: `when` is text, which is neither true nor false Write one",
        ),
        (
            HEAD + '    when: "{% if run.id %}true{% endif %}"\n',
            "6:11: `when` is text, which is neither true nor false Write one",
        ),
        (
            HEAD + "  - id: b\n    branch: [{when: run.id == 'x', to: []}, {to: []}]\n",
            """7:21: `when` is text, which is neither true nor false Write `when: "{{ run.id == 'x' }}"`.""",
        ),
        (
            HEAD + '    when: "{{ settings.limt }}"\n',
            "6:11: there is no setting `limt` Did you mean `limit`?",
        ),
        (HEAD + '    when: "{{ run.ide }}"\n', "6:11: there is no value of `run` `ide` Did you mean `id`?"),
        (HEAD + '    when: "{{ item }}"\n', "6:11: `item` is only known in a step with `each`"),
        (HEAD + '    each: "{{ index }}"\n', "6:11: `index` is only known in a step with `each`"),
        (HEAD + '    pool: "{{ settings.limit }}"\n', "6:11: no expression can stand in `pool`"),
        (HEAD + "    pack: 3\n", "6:5: `pack` packs the items of `each`, and there is none"),
        (
            HEAD + "    failures: continue\n",
            "6:5: `failures` is about the items of `each`, and there is none Leave it out: a step that fails for good",
        ),
        (
            HEAD + "  - {id: b, failures: stop, human: {ask: x, assignees: [a]}}\n",
            "6:13: `failures` is about the items of `each`, and there is none",
        ),
        (
            HEAD + "    each: [1]\n    failures: stopp\n",
            "7:15: `failures` must be `stop`, `undo` or `continue`, not the text `stopp` Did you mean `stop`?",
        ),
        (
            HEAD + "  - {id: b, failures: stop, branch: [{to: []}]}\n",
            "6:13: a branch step takes no `failures` Only `skill`, `agent`,",
        ),
        (
            HEAD.replace("read_letter", "raed_letter"),
            "4:12: there is no skill `office.raed_letter` Did you mean",
        ),
        (
            HEAD.replace("uri: x", "url: x, uri: x"),
            "5:12: the skill `office.read_letter` takes no argument `url` Did",
        ),
        (HEAD.replace("uri: x", ""), "4:12: the skill `office.read_letter` needs `uri` Give it in `with`"),
        (HEAD + "    compensate: {skill: office.nothing}\n", "6:25: there is no skill `office.nothing`"),
        (HEAD + '    when: "{{ output }}"\n', "6:11: `output` is only known in `compensate`"),
        (
            HEAD + "    compensate: {skill: office.read_letter, with: {uri: '{{ steps.later }}'}}\n",
            "6:57: there is no step `later`",
        ),
        (
            HEAD + "    compensate: {skill: office.read_letter, with: {uri: '{{ item }}'}}\n",
            "6:57: `item` is only known in a step with `each`",
        ),
        (
            HEAD + "    irreversible: true\n",
            "6:5: `read` cannot be undone, and nobody approves it Put a `human` step before it.",
        ),
        (
            HEAD + "    irreversible: true\n    compensate: {skill: office.read_letter, with: {uri: x}}\n",
            "6:5: a step is undone by `compensate`, or it is `irreversible`",
        ),
        (HEAD + "    fallback: {skill: office.nothing}\n", "6:23: there is no skill `office.nothing`"),
        (
            HEAD + "    fallback: {skill: office.file_letter, with: {}}\n",
            "6:23: the skill `office.file_letter` needs",
        ),
        (
            HEAD + "    fallback: {agent: clerc, ask: x}\n",
            "6:23: there is no agent `clerc` Did you mean `clerk`?",
        ),
        (HEAD + "    fallback: {agent: clerk}\n", "6:15: `ask` is missing"),
        (
            HEAD + "  - id: b\n    agent: clerc\n    ask: x\n",
            "7:12: there is no agent `clerc` Did you mean `clerk`?",
        ),
        (
            HEAD + "  - id: b\n    needs: {skills: [sortin]}\n    ask: x\n",
            "7:12: no agent has `sortin` among its skills Did you mean `sorting`?",
        ),
        (
            HEAD + "  - id: b\n    needs: {skills: [sorting], department: sales}\n    ask: x\n",
            "7:12: no agent in the department `sales` has `sorting`",
        ),
        (HEAD + "  - id: b\n    human: {ask: x, assignees: []}\n", "7:32: nobody may answer"),
        (HEAD + '  - id: b\n    notify: [{slack: "#a"}]\n', "7:14: `text` is missing"),
        (
            HEAD + "  - id: b\n    operator: os.system\n",
            "7:15: the operator `os.system` is not allowed here The",
        ),
        (
            HEAD + f"  - id: b\n    operator: {EMPTY}\n    lane: async\n",
            "8:11: an operator runs in a task process",
        ),
        (
            HEAD + f"  - id: b\n    operator: {EMPTY}\n    lock: [a]\n",
            "8:5: an operator may leave its process and come back, so it cannot hold a lock",
        ),
        (
            HEAD + f"  - id: b\n    operator: {EMPTY}\n    each: [1, 2]\n    pack: 2\n",
            "9:11: Airflow performs an operator once in a task, so it cannot take several items in one Leave",
        ),
        (
            HEAD + f"  - id: b\n    operator: {EMPTY}\n    each: [1, 2]\n    pack: all\n",
            "9:11: Airflow performs an operator once in a task, so it cannot take several items in one Leave",
        ),
        (
            HEAD + f"  - id: b\n    operator: {TRIGGER}\n    with: {{trigger_dag_id: x, wait_for_completion: true}}\n",
            "8:52: `wait_for_completion` has Airflow wait for the other run",
        ),
        (HEAD + '    lock: ["x:{{ item }}"]\n', "6:12: `item` is only known in a step with `each`"),
        (HEAD + '    lock: "{{ steps.later }}"\n', "6:11: there is no step `later`"),
        (HEAD + "inputs: {a: {type: strin}}\n", "6:20: not a JSON Schema"),
        (HEAD + "inputs: {a: {type: string, default: 3}}\n", "6:37: the default does not fit its schema"),
        (
            HEAD + "inputs: {a: {type: array, items: {type: string}, default: [x, 3]}}\n",
            "6:63: the default does",
        ),
        (HEAD + "inputs: {a: {$ref: 'http://localhost/x'}}\n", "6:13: a schema cannot refer"),
        (HEAD + "settings: {a: ['{{ x }}']}\n", "6:16: a setting is a plain value"),
        (HEAD + "title: Of {{ settings.limit }}\n", "6:8: no expression can stand in `title`"),
        (HEAD + 'triggers: [{schedule: "0 6 * *"}]\n', "6:23: a schedule has five fields"),
        (HEAD + 'triggers: [{schedule: "R R * * *"}]\n', "6:23: `R R * * *` is not a cron expression"),
        (HEAD + 'triggers: [{schedule: "61 6 * * *"}]\n', "6:23: `61 6 * * *` is not a cron expression"),
        (
            HEAD + 'triggers: [{schedule: "@dayly"}]\n',
            "6:23: there is no schedule `@dayly` Did you mean `@daily`?",
        ),
        (
            HEAD + 'triggers: [{schedule: "@daily", timezone: Europe/Berln}]\n',
            "6:43: there is no time zone `Europe/Berln` Did you mean `Europe/Berlin`?",
        ),
        (
            HEAD + 'triggers: [{schedule: "@daily", timezone: ../../etc/passwd}]\n',
            "6:43: there is no time zone",
        ),
        (
            HEAD + 'triggers: [{schedule: "@daily"}, {schedule: "@daily"}]\n',
            "6:34: an automation has one schedule",
        ),
        (HEAD + "triggers: [{files: {path: /a}}]\n", "6:20: which input gets the files is not clear"),
        (
            HEAD + "triggers: [{files: {path: /a, input: fils}}]\ninputs: {files: {type: array}}\n",
            "6:38: there is no input `fils` Did you mean `files`?",
        ),
        (
            HEAD + "triggers: [{files: {path: /a, input: b}}]\ninputs: {b: {type: string}}\n",
            "6:38: the input `b` is not an array",
        ),
        (
            HEAD + 'triggers: [{schedule: "@daily"}]\ninputs: {b: {type: string}}\n',
            "6:12: this trigger cannot give the input `b` Give `b` a `default`.",
        ),
        (
            "settings: {inbox: 's3://bucket/in'}\n"
            + HEAD
            + 'triggers: [{files: {path: "{{ settings.inbox }}", input: b}}]\ninputs: {b: {type: array}}\n',
            "7:27: no folder of `s3://` can be watched, only one on this machine Write its path, or `file:///srv/letters`",
        ),
        (
            HEAD + "triggers: [{files: {path: file://nas/in, input: b}}]\ninputs: {b: {type: array}}\n",
            "6:27: no folder of `file://` can be watched, only one on this machine",
        ),
        (
            HEAD + "triggers: [{files: {path: 'file:///srv/a#b', input: b}}]\ninputs: {b: {type: array}}\n",
            "6:27: a `file://` URI has no `#` and no `?` Write `%23` for `#` and `%3F` for `?`",
        ),
        (
            HEAD + "triggers: [{files: {path: 'file:srv/x', input: b}}]\ninputs: {b: {type: array}}\n",
            "6:27: a `file:` URI names a whole path Write its path, or `file:///srv/letters`",
        ),
        (
            HEAD + 'triggers: [{files: {path: "/srv/a\\0b", input: b}}]\ninputs: {b: {type: array}}\n',
            "6:34: `\\0` in double quotes is a control character",
        ),
        (
            HEAD + "triggers: [{files: {path: 'file:///srv/a%00b', input: b}}]\ninputs: {b: {type: array}}\n",
            "6:27: a path holds no NUL character",
        ),
        *(
            (
                "settings: {office: {inbox: in, limit: 3}, boss: [a, b]}\n"
                + HEAD
                + f'triggers: [{{files: {{path: "{path}", input: b}}}}]\ninputs: {{b: {{type: array}}}}\n',
                f"7:27: {message}",
            )
            for path, message in {
                "{{ settings.office.inbx }}": "`{{ settings.office.inbx }}`: there is no `inbx`",
                "{{ settings.office.limit + 'x' }}": "`{{ settings.office.limit + 'x' }}`: ",
                "{{ settings.boss | date }}": "`{{ settings.boss | date }}`: ",
                "{{ settings }}": "`{{ settings }}` gives no text here",
                "{{ none }}": "`{{ none }}` gives no text here",
            }.items()
        ),
        *(
            ("settings: {office: {inbox: in}, boss: [a, b]}\n" + HEAD + text + "\n", f"{place}: {message}")
            for text, place, message in [
                (
                    'deadlines: [{within: 3m, notify: [{slack: "#a", text: "of {{ settings.office.inbx }}"}]}]',
                    "7:55",
                    "`of {{ settings.office.inbx }}`: there is no `inbx`",
                ),
                (
                    'deadlines: [{within: 3m, notify: [{email: ["{{ settings.boss }}"]}]}]',
                    "7:44",
                    "`{{ settings.boss }}` gives no text here",
                ),
                ('incidents: [{slack: "{{ settings.office.inbx }}"}]', "7:21", "`{{ settings.office.inbx }}`: there"),
                ('incidents: [{slack: "{{ settings.office }}"}]', "7:21", "`{{ settings.office }}` gives no text here"),
                (
                    "checks: [{name: c, skill: office.read_letter, with: {uri: '{{ settings.office.inbx }}'}}]",
                    "7:59",
                    "`{{ settings.office.inbx }}`: there is no `inbx`",
                ),
            ]
        ),
        (
            HEAD + "triggers: [{files: {path: /a, input: b}}]\ninputs: {b: {type: array, items: {type: integer}}}\n",
            "7:34: the input `b` gets the URIs of files, and its `items` are no texts Write `items: {type: string}`.",
        ),
        (
            HEAD + 'triggers: [{files: {path: "{{ inputs.a }}"}}]\ninputs: {a: {type: array}}\n',
            "6:27: only `settings` are known here",
        ),
        (
            HEAD + 'deadlines: [{within: 3m, notify: [{slack: "{{ settings.offce_channel }}"}]}]\n',
            "6:43: there is no setting `offce_channel` Did you mean `office_channel`?",
        ),
        (HEAD + "checks: [{name: c, sql: 'SELECT {{ settings.limit }}'}]\n", "6:25: no expression can stand in `sql`"),
        (
            HEAD + "checks: [{name: c, skill: office.raed_letter, with: {uri: x}}]\n",
            "6:27: there is no skill `office.raed_letter` Did you mean",
        ),
        (
            HEAD + "checks: [{name: c, skill: office.read_letter}]\n",
            "6:27: the skill `office.read_letter` needs `uri` Give it in `with`",
        ),
        (
            HEAD + "checks: [{name: c, skill: office.read_letter, with: {uri: '{{ inputs.x }}'}}]\n",
            "6:59: only `settings` are known here, before a run",
        ),
        (
            HEAD + "checks: [{name: c, sql: SELECT 1, schedule: '0 6 * *'}]\n",
            "6:45: a schedule has five fields",
        ),
        (
            HEAD + "checks: [{name: c, sql: SELECT 1, schedule: '@dayly'}]\n",
            "6:45: there is no schedule `@dayly` Did you mean `@daily`?",
        ),
    ],
)
def test_what_does_not_fit_is_located_with_a_suggestion(problems: Problems, text: str, expected: str) -> None:
    (said,) = problems(text)
    assert said.startswith(expected)


FAN = HEAD + '    each: ["a", "b"]\n'
SHIFTED = (
    "7:33: the items of `read` lose their positions here: one that is redriven later moves the others Write `each: "
)


@pytest.mark.parametrize(
    "each",
    [
        "steps.read | present",
        "steps.read | present | sort(attribute='sum')",
        "steps.read | selectattr('sum') | list",
        "(steps.read | reject('none'))[:3]",
        "steps.read[1:]",
        "steps.read | unique | list",
        "steps.read | map(attribute='sum') | present | list",
        "steps.read | present | map(attribute='sum') | list",
        "(steps.read or []) | present",
        "steps.read | present if true else []",
        "[] if true else steps.read[1:]",
        "steps.read[1:] + []",
        "steps['read'] | present",
    ],
)
def test_a_list_that_loses_its_positions_is_not_fanned_out_over(problems: Problems, each: str) -> None:
    text = f'{FAN}  - {{id: post, pack: all, each: "{{{{ {each} }}}}", skill: office.read_letter, with: {{uri: x}}}}\n'
    (said,) = problems(text)
    assert said.startswith(SHIFTED)
    assert '`each: "{{ steps.read }}"`: items that are null are passed over, and `when` can leave out others.' in said


@pytest.mark.parametrize(
    "each",
    [
        "steps.read",
        "steps.read | list",
        "steps.read | default([])",
        "steps.one | present",
        "steps.read[0].parts | present",
        "steps.read | map(attribute='sum') | list",
        "(steps.read or []) + steps.read",
        "(steps.read | present)[0].parts",
        "[steps.read | present | sum(attribute='sum')]",
        "range(steps.read | present | length)",
    ],
)
def test_one_that_keeps_them_is_or_that_has_other_items(define: Define, each: str) -> None:
    text = FAN + "  - {id: one, skill: office.read_letter, with: {uri: x}}\n"
    define(text + f'  - {{id: post, each: "{{{{ {each} }}}}", skill: office.read_letter, with: {{uri: x}}}}\n')


def test_a_circle_through_several_steps_is_named_whole(problems: Problems) -> None:
    text = "automation: a\nsteps:\n"
    for step, after in (("one", "three"), ("two", "one"), ("three", "two")):
        text += f"  - {{id: {step}, after: {after}, skill: office.read_letter, with: {{uri: x}}}}\n"
    (said,) = problems(text)
    assert "these steps wait for each other: one → two → three → one" in said


def test_item_is_known_wherever_a_step_with_each_may_use_it(define: Define) -> None:
    definition = define(
        HEAD
        + """  - id: b
    each: "{{ [1, 2] }}"
    when: "{{ item > index }}"
    notify: [{ slack: "#a", text: "{{ item }}" }]
"""
    )
    assert definition.step("b").when == "{{ item > index }}"


def test_locks_are_one_name_or_several_and_count_as_uses_of_a_step(define: Define) -> None:
    definition = define(
        HEAD
        + """    lock: ledger
  - id: b
    each: "{{ [1, 2] }}"
    notify: [{ slack: "#a", text: x }]
    lock: ["ledger", "of:{{ item }}:{{ steps.read.sender }}"]
"""
    )
    assert definition.step("read").lock == ("ledger",)
    assert definition.step("b").lock == ("ledger", "of:{{ item }}:{{ steps.read.sender }}")
    assert definition.step("b").references == ("read",)


@pytest.mark.parametrize(
    ("path", "allowed", "answer"),
    [
        ("airflow.providers.http.X", ["airflow.providers.*"], True),
        ("airflow.providersx.X", ["airflow.providers.*"], False),
        ("a.b.C", ["a.b.C"], True),
        ("a.b.CD", ["a.b.C"], False),
        ("a.b.C", [], False),
    ],
)
def test_operators_are_allowed_by_path_or_by_package(path: str, allowed: list[str], answer: bool) -> None:
    assert operator_allowed(path, allowed) is answer


def test_the_setting_allowed_operators_replaces_the_default(problems: Problems) -> None:
    step = "  - id: b\n    operator: airflow.providers.standard.operators.empty.EmptyOperator\n"
    (said,) = problems(HEAD + step + "settings: {allowed_operators: [my.company.*]}\n")
    assert "The setting `allowed_operators` allows my.company.*." in said


def test_a_check_is_a_query_or_a_skill_with_settings_filled_in(define: Define) -> None:
    definition = define(
        HEAD
        + """settings: {at: letters}
checks:
  - {name: rows, sql: SELECT 1, schedule: "@daily"}
  - {name: looks, skill: office.read_letter, with: {uri: "{{ settings.at }}"}}
"""
    )
    rows, looks = definition.checks
    assert (rows.sql, rows.schedule, rows.skill) == ("SELECT 1", "@daily", None)
    assert (looks.sql, looks.skill, looks.arguments) == (None, "office.read_letter", {"uri": "letters"})
    assert Definition.model_validate_json(definition.canonical_json()) == definition
