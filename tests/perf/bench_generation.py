"""From YAML to Dags: `python tests/perf/bench_generation.py` prints ratios measured in one run.

1,000 automations of ten steps become Dags four times over: by Muster, by plain Python that declares the same
Dags, by dag-factory and by airflow-blueprint. All four make the same tasks of the same operators, wired
alike, with a trigger form of the same two inputs; that is checked. Muster's YAML says more than the others'
(what each step is given and asks), and Muster checks it. Each way has a process of its own; what it imports
does not count, and what counts is the process's CPU time, which other work on the machine disturbs least.

Then the Dag that one task needs is built with 5,000 automations present, as a task process does.
"""

from __future__ import annotations

import importlib
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
COUNT, ROUNDS = 1_000, 3
PRESENT = 5_000
OTHERS = Path(os.environ.get("MUSTER_BENCH_PACKAGES", ROOT / ".venv" / "bench"))
"""Where the tools compared with are installed: not among Muster's own packages, where one would be a plugin
of every Airflow that is started."""

STEPS: tuple[tuple[str, str, str, tuple[str, ...]], ...] = (
    ("fetch", "SkillStep", "skill: bench.look\n    with: { text: '{{ inputs.uri }}' }", ()),
    ("extract", "AgentStep", "agent: reader\n    ask: Read {{ steps.fetch }}", ("fetch",)),
    ("classify", "AgentStep", "agent: reader\n    ask: Classify {{ steps.extract }}", ("extract",)),
    ("check", "SkillStep", "skill: bench.look\n    with: { text: '{{ steps.extract }}' }", ("extract",)),
    (
        "score",
        "SkillStep",
        "skill: bench.look\n    with: { text: '{{ steps.classify }} {{ steps.check }}' }",
        ("classify", "check"),
    ),
    ("enrich", "AgentStep", "agent: reader\n    ask: Add to {{ steps.score }} up to {{ inputs.limit }}", ("score",)),
    ("match", "SkillStep", "skill: bench.look\n    with: { text: '{{ steps.enrich }}' }", ("enrich",)),
    (
        "post",
        "SkillStep",
        "skill: bench.look\n    with: { text: '{{ steps.match }}' }\n    when: '{{ steps.score }}'",
        ("match",),
    ),
    ("report", "SkillStep", "skill: bench.look\n    with: { text: '{{ run.id }} {{ steps.post }}' }", ("post",)),
    ("tell", "NotifyStep", "notify: [{ slack: '#bench', text: 'Done {{ steps.report }}' }]", ("report",)),
)
"""Step, its operator, what it says in Muster's language, and the steps before it."""

OPERATORS = "muster_airflow.operators"
TASK_PROCESS = "airflow.sdk.execution_time.task_runner"
"""What a task process has imported before it asks for a Dag."""
OWN = ("muster_airflow.compiler", "muster_airflow.compiler.triggers.files", "muster.language")
HEAD = """automation: {name}
title: {title}
category: bench
department: finance
owner: finance-ops
description: Reads, checks and posts one document.
triggers: [{{ schedule: "0 6 * * *", timezone: Europe/Berlin }}]
inputs:
  uri: {{ type: string, default: nowhere, description: The document. }}
  limit: {{ type: integer, minimum: 1, default: 5 }}
steps:
"""


def main() -> None:
    """Write the folders, run every way, print the ratios."""
    from figures import Figure, note

    with tempfile.TemporaryDirectory(prefix="muster-bench-") as name:
        folder = Path(name)
        for way in WRITERS:
            WRITERS[way](folder / way, COUNT)
        ways = ["muster", "plain"] + (["dag-factory", "airflow-blueprint"] if OTHERS.is_dir() else [])
        rounds = [{way: _in_process(way, folder) for way in ways} for _ in range(ROUNDS)]
        shapes = {way: found["shape"] for way, found in rounds[0].items()}
        if len(set(shapes.values())) != 1:
            sys.exit(f"the ways do not make the same Dags: {shapes}")
        own = statistics.median(found["muster"]["seconds"] for found in rounds)
        for way in ways[1:]:
            ratio = statistics.median(found[way]["seconds"] / found["muster"]["seconds"] for found in rounds)
            other = statistics.median(found[way]["seconds"] for found in rounds)
            target, met, said = ("3x faster", ratio >= 3, f"{ratio:.1f}x faster")
            if way == "plain":
                target, met, said = ("1.5x plain", 1 / ratio <= 1.5, f"{1 / ratio:.2f}x plain")
            note(
                Figure(
                    what=f"{COUNT} Dags of ten steps, against {way}",
                    measured=f"{own:.2f} CPU-s",
                    compared=f"{other:.2f} CPU-s",
                    ratio=said,
                    target=target,
                    met=met,
                )
            )
        if not OTHERS.is_dir():
            print(f"dag-factory and airflow-blueprint are not in {OTHERS}: `make bench` installs them")
        write_muster(folder / "many", PRESENT)
        found = [_in_process("one", folder, "many") for _ in range(5)]
        built, imports = (statistics.median(it[part] for it in found) * 1000 for part in ("seconds", "imports"))
        note(
            Figure(
                what=f"the one Dag a task needs, {PRESENT:,} automations present",
                measured=f"{built:.0f} ms of CPU",
                target="100 ms",
                met=built < 100,
            )
        )
        note(Figure(what="the import of Muster's modules before it", measured=f"{imports:.0f} ms of CPU"))


def write_muster(folder: Path, count: int) -> None:
    """Automations, the agent and the skill they use."""
    for part in ("automations", "agents", "skills"):
        (folder / part).mkdir(parents=True)
    (folder / "agents" / "finance.yaml").write_text(
        "department: finance\nagents:\n  - { id: reader, role: You read., tiers: [small] }\n"
    )
    (folder / "skills" / "bench.py").write_text(
        "from muster.skills import skill\n\n\n@skill('bench.look')\ndef look(text: str) -> str:\n"
        '    "Look."\n    return text\n'
    )
    for number in range(count):
        said = HEAD.format(name=_name(number), title=_title(number))
        for position, (step, _, words, before) in enumerate(STEPS):
            said += f"  - id: {step}\n    {words}\n"
            if before and before != (STEPS[position - 1][0],):
                said += f"    after: [{', '.join(before)}]\n"
        (folder / "automations" / f"{_name(number)}.yaml").write_text(said)


PARAMS = """    uri: { __type__: airflow.sdk.Param, default: nowhere, type: string, description: The document. }
    limit: { __type__: airflow.sdk.Param, default: 5, type: integer, minimum: 1 }
"""


def write_dag_factory(folder: Path, count: int) -> None:
    """The same Dags in dag-factory's YAML."""
    folder.mkdir()
    for number in range(count):
        tasks = "\n".join(
            f"    - task_id: {task}\n      operator: {operator}\n      trigger_rule: {rule}\n"
            f"      task_display_name: {title}\n      dependencies: [{', '.join(before)}]"
            + (f"\n      retries: {retries}" if retries else "")
            for task, operator, rule, title, before, retries in _tasks()
        )
        (folder / f"{_name(number)}.yaml").write_text(
            f"{_name(number)}:\n  dag_display_name: {_title(number)}\n"
            "  description: Reads, checks and posts one document.\n"
            '  schedule: "0 6 * * *"\n  catchup: false\n  max_active_runs: 100\n  max_active_tasks: 1024\n'
            f"  tags: [bench, finance, muster]\n  params:\n{PARAMS}"
            f"  default_args: {{ owner: finance-ops, start_date: 2026-01-01 }}\n  tasks:\n{tasks}\n"
        )


def write_blueprint(folder: Path, count: int) -> None:
    """The same Dags in airflow-blueprint's YAML, with a template for each kind of step."""
    folder.mkdir()
    classes = sorted({operator.rpartition(".") for _, operator, *_ in _tasks()})
    imports = "\n".join(f"from {module} import {name}" for module, _, name in classes)
    templates = "\n\n".join(
        f"class {name}Template(Blueprint[Settings]):\n    name = '{name.lower()}'\n\n"
        f"    def render(self, config: Settings) -> {name}:\n"
        f"        return {name}(task_id=self.step_id, task_display_name=config.title, retries=config.retries)"
        for _, _, name in classes
    )
    (folder / "templates.py").write_text(BLUEPRINTS.format(imports=imports, templates=templates))
    for number in range(count):
        steps = "\n".join(
            f"  {task}:\n    trigger_rule: {rule}\n    depends_on: [{', '.join(before)}]\n"
            + (
                # Its forms come from the settings of steps: the first one's are the inputs.
                "    blueprint: form\n    uri: nowhere\n    limit: 5"
                if task == STEPS[0][0]
                else f"    blueprint: {operator.rpartition('.')[2].lower()}\n    title: {title}\n    retries: {retries}"
            )
            for task, operator, rule, title, before, retries in _tasks()
        )
        (folder / f"{_name(number)}.dag.yaml").write_text(
            f"dag_id: {_name(number)}\ntitle: {_title(number)}\n"
            "description: Reads, checks and posts one document.\n"
            f'schedule: "0 6 * * *"\nowner: finance-ops\ntags: [bench, finance, muster]\nsteps:\n{steps}\n'
        )


BLUEPRINTS = """from blueprint import BaseModel, Blueprint, BlueprintDagArgs, Field
{imports}


class DagSettings(BaseModel):
    title: str
    description: str
    schedule: str
    owner: str
    tags: list[str]


class DagTemplate(BlueprintDagArgs[DagSettings]):
    def render(self, config: DagSettings) -> dict:
        return dict(
            dag_display_name=config.title, description=config.description, schedule=config.schedule,
            default_args={{"owner": config.owner}}, tags=config.tags,
            max_active_runs=100, max_active_tasks=1024, catchup=False,
        )


class Settings(BaseModel):
    title: str
    retries: int = 0


class Inputs(BaseModel):
    uri: str = Field("nowhere", description="The document.")
    limit: int = Field(5, ge=1)


class FormTemplate(Blueprint[Inputs]):
    name = 'form'
    supports_params = True

    def render(self, config: Inputs) -> SkillStep:
        return SkillStep(task_id=self.step_id, task_display_name="Fetch", retries=3)


{templates}
"""

WRITERS: dict[str, Callable[[Path, int], None]] = {
    "muster": write_muster,
    "dag-factory": write_dag_factory,
    "airflow-blueprint": write_blueprint,
}


def _tasks() -> list[tuple[str, str, str, str, tuple[str, ...], int]]:
    """Every task: id, operator, trigger rule, title, those before it, retries."""
    ends = {step for step, *_ in STEPS} - {name for *_, before in STEPS for name in before}
    return [
        ("open", f"{OPERATORS}.opening.OpenRun", "all_success", "open", (), 3),
        *(
            (
                step,
                f"{OPERATORS}.kinds.{kind.removesuffix('Step').lower()}.{kind}",
                "none_failed",
                step.capitalize(),
                before or ("open",),
                3 if kind == "SkillStep" else 0,
            )
            for step, kind, _, before in STEPS
        ),
        ("close", f"{OPERATORS}.steps.CloseRun", "all_done", "close", tuple(sorted(ends)), 0),
    ]


def _name(number: int) -> str:
    return f"bench_{number:05}"


def _title(number: int) -> str:
    return f"Benchmark {number}"


def _in_process(way: str, folder: Path, named: str | None = None) -> dict[str, Any]:
    """Run one way in a process of its own."""
    home = folder / "airflow"
    done = subprocess.run(
        [sys.executable, __file__, way, str(folder / (named or way))],
        env={
            **os.environ,
            "AIRFLOW_HOME": str(home),
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__CORE__DAGS_FOLDER": str(folder / (named or way)),
            "DO_NOT_TRACK": "1",
            "PYTHONPATH": str(OTHERS),
        },
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    print(f"  {way}: {found['seconds']:.2f} CPU-s", flush=True)
    return found


def child(way: str, folder: Path) -> None:
    """In a process of its own: import, build, print the seconds and what was built."""
    for module in (TASK_PROCESS,) if way == "one" else (TASK_PROCESS, *OWN, "muster_airflow.notifiers"):
        importlib.import_module(module)
    print(json.dumps(_CHILDREN[way](folder)))


def _timed(build: Callable[[dict[str, Any]], object]) -> dict[str, Any]:
    dags: dict[str, Any] = {}
    started = time.process_time()
    build(dags)
    seconds = time.process_time() - started
    return {"seconds": seconds, "shape": _shape(dags)}


def _shape(dags: dict[str, Any]) -> str:
    """How many Dags there are, and what one of them is made of."""
    from airflow.sdk import DAG

    made = {name: dag for name, dag in dags.items() if isinstance(dag, DAG)}
    tasks = sorted(
        # A trigger rule is text in one tool's Dags and a member of an enumeration in the others'.
        f"{task.task_id} {task.task_type} {str(task.trigger_rule).rpartition('.')[2].lower()} "
        f"{sorted(task.upstream_task_ids)}"
        for task in made[_name(1)].tasks
    )
    form = sorted((name.rpartition("__")[2], made[_name(1)].params[name]) for name in made[_name(1)].params)
    return f"{len(made)} Dags, {sum(len(dag.tasks) for dag in made.values())} tasks, {form}, {tasks}"


def _muster(folder: Path) -> dict[str, Any]:
    from muster_airflow.loading import load_automations

    # Without the one Dag that Muster adds for itself: all ways make the same Dags.
    return _timed(lambda dags: load_automations(dags, folder, reconciler=False))


def _plain(folder: Path) -> dict[str, Any]:
    return _timed(lambda dags: dags.update((_name(number), declare(number)) for number in range(COUNT)))


def declare(number: int) -> Any:
    """One Dag in plain Python: what Muster makes of the same automation, written by hand."""
    from airflow.sdk import DAG, CronTriggerTimetable, Param

    from muster_airflow.operators.kinds.agent import AgentStep
    from muster_airflow.operators.kinds.notify import NotifyStep
    from muster_airflow.operators.kinds.skill import SkillStep
    from muster_airflow.operators.opening import OpenRun
    from muster_airflow.operators.steps import CloseRun

    again: dict[str, Any] = {
        "retries": 3,
        "retry_delay": timedelta(seconds=5),
        "retry_exponential_backoff": 2.0,
    }
    with DAG(
        dag_id=_name(number),
        dag_display_name=_title(number),
        description="Reads, checks and posts one document.",
        doc_md="Reads, checks and posts one document.",
        tags=["bench", "finance", "muster"],
        params={
            "uri": Param("nowhere", type="string", description="The document."),
            "limit": Param(5, type="integer", minimum=1),
        },
        default_args={"owner": "finance-ops"},
        max_active_runs=100,
        max_active_tasks=1024,
        catchup=False,
        schedule=CronTriggerTimetable("0 6 * * *", timezone="Europe/Berlin"),
    ) as dag:
        rule: dict[str, Any] = {"trigger_rule": "none_failed"}
        opened = OpenRun(task_id="open", **again)
        fetch = SkillStep(task_id="fetch", task_display_name="Fetch", **rule, **again)
        extract = AgentStep(task_id="extract", task_display_name="Extract", **rule)
        classify = AgentStep(task_id="classify", task_display_name="Classify", **rule)
        check = SkillStep(task_id="check", task_display_name="Check", **rule, **again)
        score = SkillStep(task_id="score", task_display_name="Score", **rule, **again)
        enrich = AgentStep(task_id="enrich", task_display_name="Enrich", **rule)
        match = SkillStep(task_id="match", task_display_name="Match", **rule, **again)
        post = SkillStep(task_id="post", task_display_name="Post", **rule, **again)
        report = SkillStep(task_id="report", task_display_name="Report", **rule, **again)
        tell = NotifyStep(task_id="tell", task_display_name="Tell", **rule)
        close = CloseRun(task_id="close", trigger_rule="all_done")
        fetch.set_upstream([opened])
        extract.set_upstream([fetch])
        classify.set_upstream([extract])
        check.set_upstream([extract])
        score.set_upstream([classify, check])
        enrich.set_upstream([score])
        match.set_upstream([enrich])
        post.set_upstream([match])
        report.set_upstream([post])
        tell.set_upstream([report])
        close.set_upstream([tell])
    return dag


def _dag_factory(folder: Path) -> dict[str, Any]:
    from dagfactory import load_yaml_dags

    return _timed(lambda dags: load_yaml_dags(globals_dict=dags, dags_folder=str(folder)))


def _blueprint(folder: Path) -> dict[str, Any]:
    from blueprint import build_all_airflow_dags

    return _timed(lambda dags: build_all_airflow_dags(folder, register_globals=dags))


def _one(folder: Path) -> dict[str, Any]:
    """As in a task process, which has Airflow's modules and does this once: Muster's imports, then the Dag."""
    from muster_airflow.loading import load_automations

    name = _name(PRESENT // 2)
    os.environ["_AIRFLOW_PARSING_CONTEXT_DAG_ID"] = name
    os.environ["_AIRFLOW_PARSING_CONTEXT_TASK_ID"] = "fetch"
    dags: dict[str, Any] = {}
    started = time.process_time()
    for module in OWN:
        importlib.import_module(module)
    imported = time.process_time()
    load_automations(dags, folder)
    built = time.process_time()
    if list(dags) != [name]:
        sys.exit(f"{list(dags)} were built instead of {name}")
    return {"imports": imported - started, "seconds": built - imported}


_CHILDREN: dict[str, Callable[[Path], dict[str, Any]]] = {
    "muster": _muster,
    "plain": _plain,
    "dag-factory": _dag_factory,
    "airflow-blueprint": _blueprint,
    "one": _one,
}

if __name__ == "__main__":
    child(sys.argv[1], Path(sys.argv[2])) if len(sys.argv) > 1 else main()
