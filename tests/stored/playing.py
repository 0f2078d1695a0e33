"""The automations of the stored installation, and how their runs are played; a folder says what is broken."""

from __future__ import annotations

import os
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from muster.approvals import asking
from muster.database import Database
from muster.execution.fanout import expand
from muster.execution.performing import begin, perform
from muster.execution.references import WorkRef
from muster.execution.run_executions import Epoch, begin_epoch, instant
from muster.execution.work_item import WorkItem
from muster.language import load_folder
from muster.language.definition import Definition
from muster.language.resolved_step import ResolvedStep
from muster.notifications import Notice
from muster.operations.redoing import order, plan_redrive, plan_restart
from muster.runs.children import ask_for
from muster.runs.following import Pace, follow
from muster.runs.opening import Opening, open_run
from muster.saga.resuming import resume
from support.runs import Site
from support.sources import source_of

FOLDER = "MUSTER_TEST_STORED"
"""The variable that names the folder in which files say what is broken, and calls are written down."""
PACE = Pace(first=0.01, longest=0.02, airflow=0.05, begins=3600)
SKILLS = source_of(__file__, "playing")
_UNDO = "compensate: {skill: shop.undo, with: {name: '{{ item }}'}, retry: {times: 0}}"


def _goods(name: str, pack: str) -> str:
    return f"""
automation: {name}
inputs: {{names: {{type: array, default: [a, b, c]}}}}
incidents: [{{slack: "#stuck"}}]
steps:
  - {{id: list, skill: shop.names}}
  - {{id: check, each: "{{{{ steps.list }}}}", pack: {pack}, skill: shop.work,
     with: {{name: "{{{{ item }}}}", step: check}}}}
  - {{id: ask, each: "{{{{ steps.check }}}}",
     human: {{ask: "Post {{{{ item }}}}?", assignees: [lead], on_restart: keep}}}}
  - {{id: post, each: "{{{{ steps.list }}}}", after: [ask], pack: {pack}, skill: shop.work,
     with: {{name: "{{{{ item }}}}", step: post}}, {_UNDO}}}
  - {{id: route, branch: [{{when: "{{{{ (steps.post | length) > 2 }}}}", to: [many]}}, {{to: [few]}}]}}
  - {{id: many, skill: shop.work, with: {{name: many, step: many}}}}
  - {{id: few, skill: shop.work, with: {{name: few, step: few}}}}
  - {{id: last, after: [many, few], skill: shop.work, with: {{name: last, step: last}}}}
"""


AUTOMATIONS: Mapping[str, str] = {
    "goods_mapped": _goods("goods_mapped", "1"),
    "goods_packed": _goods("goods_packed", "2"),
    "goods_whole": _goods("goods_whole", "all"),
    "payment": """
automation: payment
inputs: {name: {type: string}}
incidents: [{slack: "#stuck"}]
steps:
  - {id: book, skill: shop.work, with: {name: "{{ inputs.name }}", step: book},
     compensate: {skill: shop.undo, with: {name: "{{ inputs.name }}"}, retry: {times: 0}}}
  - {id: approve, human: {ask: "Pay {{ inputs.name }}?", assignees: [lead], details: "{{ steps.book }}"}}
  - {id: pay, skill: shop.pay, with: {name: "{{ inputs.name }}"}, irreversible: true}
  - {id: other, after: [book], skill: shop.work, with: {name: other, step: other}, retry: {times: 1, delay: 0s}}
  - {id: last, after: [pay, other], skill: shop.work, with: {name: last, step: last}}
""",
    "parent": """
automation: parent
inputs: {name: {type: string}}
steps:
  - {id: reserve, skill: shop.work, with: {name: "{{ inputs.name }}", step: reserve},
     compensate: {skill: shop.undo, with: {name: reserve}, retry: {times: 0}}}
  - {id: deliver, run: child, with: {name: "{{ steps.reserve }}"}}
  - {id: last, skill: shop.work, with: {name: last, step: last}}
""",
    "child": """
automation: child
inputs: {name: {type: string}}
steps:
  - {id: load, skill: shop.work, with: {name: "{{ inputs.name }}", step: load},
     compensate: {skill: shop.undo, with: {name: load}, retry: {times: 0}}}
""",
    "person": """
automation: person
inputs: {customer: {type: string}, email: {type: string, format: email, default: jane@example.com}}
personal: {subject: "{{ inputs.customer }}", impersonal: [size]}
steps:
  - {id: greet, skill: shop.work, with: {name: "{{ inputs.customer }}", step: greet},
     compensate: {skill: shop.undo, with: {name: "{{ output }}"}, retry: {times: 0}}}
  - {id: size, after: [], skill: shop.work, with: {name: large, step: size}}
  - {id: approve, after: [greet, size], human: {ask: "Welcome {{ inputs.customer }}?", assignees: [lead]}}
  - {id: last, skill: shop.work, with: {name: last, step: last}}
""",
}

AGENTS = """
department: shop
agents:
  - {id: clerk, role: You look at goods., skills: [goods], tiers: [small], tools: [shop.names], limits: {usd: 0.5}}
  - {id: boss, role: You decide., skills: [goods], tiers: [large, small], retries: 1, offline: shop.names}
"""
EVERYTHING = """
automation: everything
title: Everything a file can say
description: All of it.
category: shop
owner: shop@example.com
inputs:
  count: {type: integer, default: 3, minimum: 1}
  letter: {type: string, default: none}
  letters: {type: array, items: {type: string, format: uri}, default: []}
settings: {limit: 100.50, channel: "#shop"}
triggers:
  - schedule: "0 6 * * mon-fri"
    timezone: Europe/Berlin
  - files: {path: inbox, match: ["*.pdf"], input: letters, every: 30s}
deadlines: [{within: 2h, notify: [{slack: "#late"}]}]
incidents: [{slack: "#stuck"}]
budget: {usd: 2.5}
defaults: {retry: {times: 2, delay: 5s}, timeout: 10m, priority: 3}
steps:
  - id: look
    needs: {skills: [goods], department: shop}
    ask: "Which of these are good? At most {{ inputs.count }}."
    with: {limit: "{{ settings.limit }}"}
    returns: {type: object, properties: {good: {type: array}}, required: [good]}
    fallback: {agent: clerk, ask: "Which are good?"}
  - id: each
    each: "{{ steps.look.good }}"
    pack: 10
    when: "{{ item != 'x' and index < inputs.count }}"
    skill: shop.work
    with: {name: "{{ item | string }}", step: each}
    lock: ["goods {{ item }}"]
    lane: worker
    pool: default_pool
    retry: {times: 4, backoff: 3, on: {rate_limit: {times: 9, delay: 1m}}}
    compensate: {skill: shop.undo, with: {name: "{{ output }}"}, retry: {times: 8, delay: 30s}, timeout: 2m}
  - id: ask
    human:
      ask: "All {{ steps.each | length }}?"
      details: "| good |\n| --- |\n| {{ steps.look.good | length }} |"
      assignees: [lead, "{{ settings.channel }}"]
      approvals: 2
      within: 8h
      otherwise: reject
  - id: route
    branch: [{when: "{{ steps.ask.approved }}", to: [copy, deliver]}, {to: [tell]}]
  - id: copy
    operator: airflow.providers.standard.operators.bash.BashOperator
    with: {bash_command: "echo {{ run.id }}"}
    timeout: 10m
  - {id: deliver, run: child, with: {name: "{{ inputs.letter }}"}, timeout: 2h}
  - id: tell
    after: [route, copy, deliver]
    notify:
      - {slack: "{{ settings.channel }}", text: "{{ run.id }} is done"}
      - {email: [shop@example.com], subject: Done, text: "All of it."}
"""


class Shop:
    """The site of the stored installation, in a folder and on a database."""

    def __init__(self, folder: Path, database: Database) -> None:
        self.folder = folder
        os.environ[FOLDER] = str(folder)
        self.site = Site(folder, database)
        self.site.skills("shop", SKILLS)
        for name, source in AUTOMATIONS.items():
            (self.site.include / "automations" / f"{name}.yaml").write_text(source)
        catalogue = load_folder(self.site.include)
        assert not catalogue.problems, "\n".join(str(problem) for problem in catalogue.problems)
        self.definitions: Mapping[str, Definition] = catalogue.definitions
        self.names("a b c")

    def names(self, names: str) -> None:
        """What the list holds from now on."""
        (self.folder / "names").write_text(names)

    def breaks(self, *what: str) -> None:
        """From now on only this is broken: `<step>.<name>.broken`, or `.aside`."""
        for file in (*self.folder.glob("*.broken"), *self.folder.glob("*.aside")):
            file.unlink()
        for name in what:
            (self.folder / name).touch()

    def called(self) -> list[str]:
        """What was called since the last time somebody asked."""
        calls = self.folder / "calls"
        found = calls.read_text().splitlines() if calls.exists() else []
        calls.unlink(missing_ok=True)
        return found

    def open(self, automation: str, number: str, **inputs: Any) -> str:
        """A run that a person has asked for."""
        return self._opened(automation, number, inputs)

    def begins(self, run: str) -> Epoch:
        """The execution that Airflow begins now."""
        at = instant(datetime.now(UTC))
        begun: Epoch = self.site.do(begin_epoch(self.site.services, run, f"begun/{at}", at))
        return begun

    def restart(self, run: str, step: str) -> Epoch:
        """Order it to be done again from a step on, and have Airflow begin."""
        services = self.site.services
        order(services.log, plan_restart(services.log, services.definitions, run, step, by="ann"))
        return self.begins(run)

    def redrive(self, run: str, **work_items: Sequence[int | None]) -> Epoch:
        """The same for dead letters."""
        services = self.site.services
        order(services.log, plan_redrive(services.log, services.definitions, run, work_items, by="ann"))
        return self.begins(run)

    def resume(self, run: str, *, by_hand: bool = False) -> None:
        """A person has undoing go on, and Airflow does."""
        resume(self.site.services.log, run, by="ann", note="looked at", by_hand=by_hand)
        epoch = self.begins(run)
        self.site.unwind(run, epoch=epoch.number)
        self.site.close(run, epoch=epoch.number)

    def plays(
        self, run: str, epoch: Epoch | None = None, *, until: str | None = None, rejects: Collection[str] = ()
    ) -> None:
        """What Airflow does with a run's tasks, in order, to its end or up to a step; `rejects` are names."""
        epoch = epoch or Epoch(0, frozenset())
        definition, failed = self.definitions[run.partition("/")[0]], dict[str, str | None]()
        for step in definition.steps:
            if step.id == until:
                return
            ref = WorkRef(run=run, step=step.id, epoch=epoch.number, is_preserved=step.id in epoch.preserved_steps)
            for slot in self._slots(ref, step):
                if self._performed(replace(ref, slot=slot), step, rejects) == "failed":
                    failed[step.id if slot is None else f"{step.id}_{slot}"] = "failed"
        self.site.unwind(run, failed, epoch=epoch.number)
        self.site.close(run, failed, epoch=epoch.number)

    def _slots(self, ref: WorkRef, step: ResolvedStep) -> Sequence[int | None]:
        if not step.is_mapped:
            return [None]
        return list(range(self.site.do(expand(self.site.services, ref)).slots()))

    def _performed(self, ref: WorkRef, step: ResolvedStep, rejects: Collection[str]) -> str:
        if step.kind == "human":
            return self._answered(ref, rejects)
        if step.kind == "run":
            return self._delivered(ref)
        return str(self.site.do(perform(self.site.services, ref)).status)

    def _answered(self, ref: WorkRef, rejects: Collection[str]) -> str:
        async def answered() -> str:
            work_item = await begin(self.site.services, ref)
            if not isinstance(work_item, WorkItem):
                return str(work_item.status)
            await asking.request(self.site.services, work_item)
            name = work_item.variables["inputs"].get("name") if work_item.index is None else work_item.variables["item"]
            await asking.answer(self.site.services, work_item, approved=name not in rejects, by="lead")
            return "succeeded"

        return str(self.site.do(answered()))

    def _delivered(self, ref: WorkRef) -> str:
        async def asked() -> Any:
            work_item = await begin(self.site.services, ref)
            return await ask_for(self.site.services, work_item) if isinstance(work_item, WorkItem) else None

        async def state(dag_id: str, dag_run_id: str) -> str | None:
            return "success"

        if (child := self.site.do(asked())) is not None:
            self._opened(child.automation, child.dag_run_id, child.conf, run=child.run)
            self.plays(child.run)
            return str(self.site.do(follow(self.site.services, ref, state, PACE)).status)
        return "skipped"

    def _opened(self, automation: str, number: str, inputs: Mapping[str, Any], *, run: str | None = None) -> str:
        opening = Opening(
            run=run or f"{automation}/{number}",
            dag_id=automation,
            dag_run_id=number,
            definition=self.definitions[automation],
            bundle_version=None,
            conf=inputs,
            requested_by="requester",
            trigger=None if run is None else "operator_triggered",
        )
        self.site.do(open_run(self.site.services, opening))
        return opening.run


def notice(run: str) -> Notice:
    """What a run tells people."""
    return Notice(key=f"{run}/told", channel="slack", target="#shop", text="The goods are posted.", run=run)
