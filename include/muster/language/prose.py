"""The sentences of `docs/language.md` that stand between what is made from the models."""

from __future__ import annotations

INTRODUCTION = """# The language

<!-- Written by `python -m muster.language.reference docs` from the models; edit those, not this page. -->

A business process is one YAML file, an *automation*, in `include/automations/<category>/`. Muster checks
it, resolves it to a *definition* with a hash of its own, and compiles that to one Airflow Dag. A run
belongs to the definition it started with. `muster lint` says what is wrong with a file and where; editors
say it while you type when the file begins with `# yaml-language-server: $schema=<path
to>/docs/automation.schema.json`.

```yaml
{first}```

The YAML is YAML 1.2: `no`, `on` and `2026-01-31` are text, and so is a number with a leading zero. A key
twice in a mapping, tags, merge keys and more than one document are refused, and so is a file that is not
UTF-8. Durations are written `30s`, `5m`, `24h`, `1d`, or together: `1h30m`. A name has at most 100 lower case
letters, digits and underscores, and begins with a letter.

The headings below are the words one writes. [The tutorial](tutorial.md) builds an automation step by step.
"""

OUTPUTS = """### What a step puts out

`steps.<id>` is what the step put out. The examples are those of the kinds below.

{table}
- What a skill declares as a decimal, a date or a time is one again in expressions. In the log it is text.
- With `each`, `steps.<id>` is a list as long as `each`. At each position is what the step put out for that item, or
  null where the item was null, was skipped, was set aside or failed.
- A step that was skipped, or failed, puts out null.
"""

COMPENSATING = """```yaml
{example}```

When `sum_up` fails for good, the run is undone: `office.clear_place` gets what `file` gave back, and the run ends
`compensated`.

| in the expressions of `compensate` | what it is |
| --- | --- |
| `output` | what the step gave back, decimals and dates as text; null when it failed, or nobody knows |
| `steps.<id>` | the outputs of the steps before it, and of the step itself |
| `item`, `index` | in a fan-out: the item that is undone |
| `inputs`, `settings`, `run` | as in the step |

- Steps are undone from the last to the first: a step waits for the compensations of the steps after it. In a
  fan-out each item that was begun is undone by itself.
- A step that was skipped, or never began, is not undone. A `run` step needs no `compensate`: the steps of the
  run that it asked for are undone. A step cannot have `compensate` and be `irreversible`.
- The skill may be called more than once, for work that happened, did not happen, or happened in part. It looks
  first, and succeeds when nothing is left to undo.
- Without `retry` an attempt is repeated {times} times, without `timeout` it may take as long as its skill says,
  else {minutes} minutes. `retry` and `timeout` under `defaults` do not count here, nor do retries of
  compensations count in `budget`.
- When the last attempt has failed the run is `stuck`: what comes before is left as it is, the people under
  `incidents` are told, and [`muster resume`](recovery.md#undone-in-reverse-compensate) goes on.
"""

ENDINGS = """## Rejected, skipped, set aside

| what happens | the step is | the steps after it | the run |
| --- | --- | --- | --- |
| `when` is false | `skipped` | go ahead | goes on |
| a `branch` goes another way | `skipped` | are skipped, up to where the ways join | goes on |
| a person rejects, or does not answer in time | `succeeded`; `approved` is false | are skipped | succeeds |
| a skill sets an item aside | `set_aside`, for that item | are skipped for it | succeeds, unless all items were |
| an item fails for good | `failed`, for that item | are skipped for it | fails; what was done stands |
| ... `failures: stop` | the same; what had not begun is `skipped` | are so for that | fails; what was done stands |
| ... `failures: undo` | the same; what had not begun is `skipped` | are skipped | fails; what can be is undone |
| a step fails for good, or all its items do | `failed` | are skipped | fails; what has a `compensate` is undone |

A rejection skips every step after the question, with these exceptions:

- A step whose `when` names the question decides about the rejection itself: it is done when `when` is true. So does a
  step on a way of a `branch` whose `when` names it. The steps after such a step go ahead.
- A step that is `irreversible` is skipped when any question before it was rejected, however far before, unless its own
  `when` names that very question.
- In a fan-out, a rejected item skips that item in the steps that fan out over the same list.

```yaml
{rejected}```

| step | approved | rejected |
| --- | --- | --- |
| `approve` | succeeded | succeeded |
| `file` | succeeded | skipped |
| `archive` | succeeded | skipped |
| `refuse` | skipped | succeeded |

A skill sets an item aside that cannot be processed as it is: `raise SetAside(message, findings)`. The item waits for a
person, who sees it with `muster dead-letters list --set-aside`; the other items go on.

```yaml
{set_aside}```

With the letters `0.txt`, `1.txt` and `111111.txt`, which name 0, 1,000 and 6,000:

| step | `0.txt` | `1.txt` | `111111.txt` | `steps.<id>` |
| --- | --- | --- | --- | --- |
| `read` | succeeded | succeeded | succeeded | three letters |
| `check` | set_aside | succeeded | succeeded | null and two letters |
| `file` | | succeeded | skipped | `[null, "inbox/1.txt", null]` |

An item that is null, as the first is for `file`, has no work and no state of its own.

What an item that fails for good means for the others of its list, after all its attempts and its fallback, `failures`
says:

```yaml
{failing}```

With the letters `1.txt`, `bad.txt`, `2.txt` and `3.txt`, done one after the other, of which `bad.txt` fails:

| `failures` of `file` | `1.txt` | `bad.txt` | `2.txt` and `3.txt` | the run |
| --- | --- | --- | --- | --- |
| `continue`, or nothing | succeeded | failed | succeeded | fails; three letters are filed |
| `stop` | succeeded | failed | skipped (`item_failed`) | fails; one letter is filed |
| `undo` | succeeded | failed | skipped (`item_failed`) | is compensated; no letter is filed |

- Items already under way finish, with the attempts and the fallback that they have left: an item may begin at the
  moment at which another one fails. Once the failure is in the log none begins, in any process. An item that waits for
  its `lock` for the first time has not begun.
- `stop`: what was done stands, also where no item came through. `muster dead-letters redrive` of the failed item does
  it again, and with it every item that did not begin. Where several had failed, those that are not redriven stay as
  they are. `muster restart RUN --from STEP` does all of it.
- `undo`: the run is undone, as when a step without `each` fails. A `notify` step that fails undoes nothing.
- An item that is set aside has not failed, nor has a question that is rejected.
"""

BOUNDS = """## Bounds

Bounds of a single key stand in its table. These hold besides:

| what | at most |
| --- | --- |
{rows}
"""

EXPRESSIONS = """## Expressions

`{{ … }}` is [Jinja](https://jinja.palletsprojects.com/) in a sandbox. Expressions can stand in `when`,
`each`, `with`, `ask`, `human`, `notify`, `branch`, `lock`, `fallback` and `compensate`, which knows
[`output` besides](#compensate); in triggers and deadlines only `settings` are known.

| variable | what it is |
| --- | --- |
| `inputs.<name>` | what the run was given |
| `steps.<id>` | the output of a step that comes before, which has no `output` in between; null when it was skipped |
| `settings.<name>` | the settings |
| `run.id`, `run.automation`, `run.requested_by`, `run.opened_at` | the run itself |
| `run.scheduled_at` | the time of the schedule that started it, in its time zone; else when it was opened |
| `run.interval_start`, `run.interval_end` | the data interval that Airflow gives it; else when it was opened |
| `run.today` | the date of `run.scheduled_at`, the same however often the run is repeated |
| `item`, `index` | in a step with `each`: the item, and its position from 0 |

- A text that is one expression and nothing else keeps the value's type: a list stays a list, an amount a
  decimal, a date a date. An expression inside a longer text becomes text: a list or mapping as JSON, null
  as nothing.
- `when` is one expression and nothing else. A number is true unless it is 0, a list or mapping unless it is
  empty, null never. Text is neither, because `"false"` and `"no"` would be true: `muster lint` refuses what can
  only be text, and a condition that gives text fails its step. So does one that asks anywhere in it whether text is
  true: with `not`, `if`, `and` or `or`, or with `select`, `reject`, `selectattr` or `rejectattr` without a test.
- Where what `and` or `or` give is compared or passed on, it is a value: `{{ (inputs.note or "none") == "none" }}` puts
  a text in the place of an empty one, and `{{ (steps.read and steps.read.kind) == "invoice" }}` compares what stands
  behind `and`. What stands before `and` is asked also there.
- Elsewhere, as in `each`, `with` and `{% if %}`, text is true unless it is empty: `{{ [inputs.note] if inputs.note
  else [] }}` is right for a note that may be empty. `"false"` is true there; compare it: `inputs.send == "true"`.
- The answers about all items of a fan-out (`steps.approve` without `[index]`) are as a whole neither: `muster lint`
  refuses such a condition, and it fails its step. `{{ steps.approve | select | length > 0 }}` says that somebody
  approved; without `select` it counts the items, also rejected ones.
- Values are plain data. `a.b` is the key `b` of the mapping `a`, whatever its name; there are no methods,
  no attributes and no functions but `range`.
- A number with a fraction beside a decimal is the decimal that it is written as: an amount of 1000.10 is neither more
  nor less than a setting, an input or a number of 1000.10, and can be multiplied by 1.19.
- What is not there is an error that names it, unless you ask: `{{ steps.read.note is defined }}`, `{{
  steps.read.note | default("none") }}`. Null is there: `default("none", true)` takes the place of it, too.
- A step that was skipped put out null, of which nothing can be asked. `{{ steps.approve is not none and not
  steps.approve.approved }}` is true when somebody was asked and rejected.
- Nothing is put in the place of `${NAME}`, `$NAME` and `{ run.id }`, and a `$` before `{{` stays: `muster lint` refuses
  them, and `${NAME}` in settings. Commands of an operator may have them. What is meant as text is `{{ '$NAME' }}`.
- Inside of an input there is what its schema says under `properties`. `muster lint` takes a schema with `properties`
  and without `additionalProperties` for closed, and refuses other names, unless they are `required`, stand in the
  input's `default`, or the automation asks for them as above. `additionalProperties: true` leaves the rest open.
- `{% if %}` and `{% for %}` can be used in longer texts. Loops, texts and numbers are bounded.
- `each` passes over null, so positions stay the same down a chain of fan-outs: `{{ steps.approve[index]
  }}` is the approval of this item.

The filters of Muster's own; besides these there are Jinja's {jinja}.

{own}"""

MERGING = """## Settings, defaults, and files that extend others

All files lie in the project's folder `include`: `include/settings.yaml`, `include/automations/`, `include/agents/`,
`include/skills/`. Values come from these places; a later one wins, mappings are merged key by key, and null removes:

1. `settings.yaml`, then `settings.<environment>.yaml` for the environment that `MUSTER_ENVIRONMENT` names;
2. `_defaults.yaml` of each folder, from `automations/` down to the automation's own;
3. the file named by `extends`, and those it extends;
4. the automation itself.

Settings are plain values without expressions, and no secrets: they are stored with every run. What its name or its
looks call a secret is refused; [keep it in an Airflow connection](operating.md#secrets-and-personal-data). Without its
settings no automation runs: a mistake in `settings.yaml` stops all of them.

A file whose name begins with `_` is no automation. What others extend is published with them, so it lies below
`automations/`, too, and its name ends in `.yaml` or `.yml`.

```yaml
# settings.yaml
{settings}```

```yaml
# automations/office/_defaults.yaml
{defaults}```

With `extends`, steps are merged by their `id`. A step of another kind replaces the one it extends. A new
step stands behind the one written above it, or at the end when it is the first.

```yaml
# automations/office/_letter.yaml
{base}```

```yaml
{extending}```
"""

SKILLS = """## A site's own skills

A skill is a typed Python function in `include/skills/<domain>.py`: runs look for `office.read_letter`, and for the type
`office.Letter`, in `office.py` and nowhere else. `muster lint` reads names, lanes and
parameters from the source without importing it, so the arguments of `@skill` are literals.

```python
{skills}```

A skill that declares what it returns gives its values their types: `item.amount` is a decimal because `Letter` says so.
"""
