"""From an automation as written, and checked, to its definition."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from muster.agents.spec import AgentSpec
from muster.language.automation import (
    Automation,
    Deadline,
    Files,
    FilesTrigger,
    ScheduleTrigger,
    SkillCheck,
    SqlCheck,
    StepDefaults,
    Trigger,
)
from muster.language.definition import (
    Definition,
    ResolvedCheck,
    ResolvedClassRetry,
    ResolvedCompensation,
    ResolvedDeadline,
    ResolvedEscalation,
    ResolvedFallback,
    ResolvedHuman,
    ResolvedRetry,
    ResolvedStep,
    ResolvedTarget,
    ResolvedTrigger,
    ResolvedWay,
)
from muster.language.durations import parse_duration
from muster.language.expressions import evaluate
from muster.language.graph import waits
from muster.language.personal import resolve_personal
from muster.language.steps import (
    AgentFallback,
    AgentStep,
    BranchStep,
    ClassRetry,
    Compensation,
    EmailTarget,
    Fallback,
    Human,
    HumanStep,
    MappedStep,
    NotifyStep,
    OperatorStep,
    Retry,
    RunStep,
    SkillStep,
    SlackTarget,
    StepBase,
    Target,
    WorkStep,
)
from muster.language.surroundings import Surroundings
from muster.language.usage import Usage
from muster.skills.index import Lane

_LANES: dict[str, Lane] = {"skill": "worker", "operator": "worker", "run": "worker"}
"""Lanes by kind where nothing else is said; every other kind runs `async`."""


_NO_RETRY = ResolvedRetry()
_LONGEST_UNDOING = 900.0
"""Seconds for an attempt at a compensation that says nothing: a run must not hang half undone."""
_PERSISTENT = ResolvedRetry(times=5)
"""Of a compensation that says nothing: when it fails for good a person has to act, so it tries hard."""


def resolve(
    automation: Automation, settings: Mapping[str, Any], usages: Mapping[str, Usage], among: Surroundings
) -> Definition:
    """The definition of an automation that passed its checks.

    Args:
        automation: With folder defaults and `extends` merged in.
        settings: The site's, the folders' and its own, merged.
        usages: What each step refers to.
        among: Agents and skills.
    """
    fan_outs = {step.id for step in automation.steps if isinstance(step, MappedStep) and step.each is not None}
    after, aligned = waits(automation.steps), alignments(usages, fan_outs)
    steps = tuple(
        _step(step, automation.defaults, after[step.id], usages[step.id], aligned.get(step.id), among)
        for step in automation.steps
    )
    return Definition(
        name=automation.automation,
        title=automation.title or in_words(automation.automation),
        category=automation.category,
        department=automation.department,
        owner=automation.owner,
        description=automation.description,
        triggers=tuple(_trigger(trigger, automation, settings) for trigger in automation.triggers),
        inputs=automation.inputs,
        deadlines=tuple(_deadline(deadline, settings) for deadline in automation.deadlines),
        incidents=_told(automation.incidents, settings),
        checks=tuple(_check(check, settings) for check in automation.checks),
        budget=automation.budget.usd if automation.budget else None,
        retries=automation.budget.retries if automation.budget else None,
        personal=resolve_personal(automation.personal),
        settings=dict(settings),
        steps=steps,
        agents=_inlined(steps, among),
    )


def in_words(name: str) -> str:
    """A name as people read it."""
    return name.replace("_", " ").capitalize()


def default_input(automation: Automation) -> str | None:
    """The only input that is an array, which new files are given as; None when there are none or several."""
    arrays = [name for name, schema in automation.inputs.items() if schema.get("type") == "array"]
    return arrays[0] if len(arrays) == 1 else None


def chosen_agent(step: AgentStep, among: Surroundings) -> AgentSpec | None:
    """The agent a step names, or the one that fits what it needs."""
    if step.agent is not None:
        return among.agents.get(step.agent)
    return next(iter(_fitting(step, among)), None)


def _fitting(step: AgentStep, among: Surroundings) -> list[AgentSpec]:
    return among.agents.fitting(step.needs) if step.needs else []


def alignments(usages: Mapping[str, Usage], fan_outs: Collection[str]) -> dict[str, str]:
    """For each step that fans out, the first step that fans out over the same list."""
    first: dict[tuple[str, ...], str] = {}
    found: dict[str, str] = {}
    for step_id, used in usages.items():
        if step_id not in fan_outs:
            continue
        # Without a plain path there is no telling that two lists are the same: then it is the first of its own.
        found[step_id] = step_id
        if path := used.each.path:
            if len(path) == 2 and path[0] == "steps" and path[1] in found:
                found[step_id] = found[path[1]]
            else:
                found[step_id] = first.setdefault(path, step_id)
    return found


def _step(
    step: StepBase,
    defaults: StepDefaults,
    after: tuple[str, ...],
    used: Usage,
    aligned_to: str | None,
    among: Surroundings,
) -> ResolvedStep:
    work = step if isinstance(step, WorkStep) else None
    each = step.each if isinstance(step, MappedStep) else None
    return ResolvedStep(
        id=step.id,
        kind=step.kind,
        title=step.title or in_words(step.id),
        after=after,
        when=step.when,
        each=each,
        pack=work.pack if work else None,
        lane=_lane(step, among),
        priority=step.priority if step.priority is not None else defaults.priority,
        pool=step.pool if step.pool is not None else defaults.pool,
        retry=_retry(work.retry or defaults.retry if work else None),
        timeout=_timeout(step, defaults, among),
        compensate=_compensation(work.compensate, used, among) if work and work.compensate else None,
        irreversible=work.irreversible if work else False,
        lock=tuple(work.lock or ()) if work else (),
        references=tuple(sorted(used.steps)),
        when_references=tuple(sorted(used.when.steps)),
        aligned_to=None if each is None else aligned_to or step.id,
        **_of_kind(step, among),
    )


def _of_kind(step: StepBase, among: Surroundings) -> dict[str, Any]:
    """What only this kind of step has."""
    if isinstance(step, SkillStep):
        return {
            "skill": step.skill,
            "arguments": step.arguments,
            "fallback": _fallback(step.fallback, step.arguments, None),
        }
    if isinstance(step, AgentStep):
        agent = chosen_agent(step, among)
        return {
            "agent": agent.id if agent else None,
            "others": tuple(other.id for other in _fitting(step, among)[1:]),
            "ask": step.ask,
            "arguments": step.arguments,
            "returns": step.returns if step.returns is not None or agent is None else agent.returns,
            "fallback": _fallback(step.fallback, step.arguments, step.ask),
        }
    if isinstance(step, HumanStep):
        return {"human": _human(step.human)}
    if isinstance(step, NotifyStep):
        return {"notify": tuple(_target(target) for target in step.notify)}
    if isinstance(step, BranchStep):
        return {"branch": tuple(ResolvedWay(when=way.when, to=tuple(way.to)) for way in step.branch)}
    if isinstance(step, RunStep):
        return {"run": step.run, "arguments": step.arguments}
    return {"operator": step.operator, "arguments": step.arguments} if isinstance(step, OperatorStep) else {}


def _human(human: Human) -> ResolvedHuman:
    levels = [ResolvedEscalation(after=parse_duration(level.after), to=_people(level.to)) for level in human.escalate]
    return ResolvedHuman(
        ask=human.ask,
        details=human.details,
        assignees=_people(human.assignees),
        within=parse_duration(human.within) if human.within else None,
        remind=tuple(sorted({parse_duration(after) for after in human.remind})),
        escalate=tuple(sorted(levels, key=lambda level: level.after)),
        approvals=human.approvals,
        notify=tuple(_target(target) for target in human.notify),
        on_restart=human.on_restart,
    )


def _people(people: list[str] | str) -> tuple[str, ...] | str:
    return people if isinstance(people, str) else tuple(people)


def _lane(step: StepBase, among: Surroundings) -> Lane:
    if isinstance(step, WorkStep) and step.lane is not None:
        return step.lane
    if isinstance(step, SkillStep) and (entry := among.skills.get(step.skill)):
        return entry.lane
    return _LANES.get(step.kind, "async")


def _retry(retry: Retry | None) -> ResolvedRetry:
    if retry is None:
        return _NO_RETRY
    return ResolvedRetry(
        times=retry.times,
        delay=parse_duration(retry.delay),
        backoff=retry.backoff,
        max_delay=parse_duration(retry.max_delay),
        on={kind: _class_retry(own) for kind, own in sorted(retry.on.items())},
    )


def _class_retry(own: ClassRetry) -> ResolvedClassRetry:
    return ResolvedClassRetry(
        times=own.times,
        delay=None if own.delay is None else parse_duration(own.delay),
        backoff=own.backoff,
        max_delay=None if own.max_delay is None else parse_duration(own.max_delay),
    )


def _timeout(step: StepBase, defaults: StepDefaults, among: Surroundings) -> float | None:
    if isinstance(step, RunStep):
        # A folder's default is for an attempt at work, not for a whole run.
        return parse_duration(step.timeout) if step.timeout is not None else None
    if not isinstance(step, WorkStep):
        return None
    if step.timeout is not None:
        return parse_duration(step.timeout)
    entry = among.skills.get(step.skill) if isinstance(step, SkillStep) else None
    if entry and entry.timeout is not None:
        return entry.timeout
    return parse_duration(defaults.timeout) if defaults.timeout else None


def _compensation(undo: Compensation, used: Usage, among: Surroundings) -> ResolvedCompensation:
    entry = among.skills.get(undo.skill)
    limit = parse_duration(undo.timeout) if undo.timeout else entry.timeout if entry else None
    return ResolvedCompensation(
        skill=undo.skill,
        arguments=undo.arguments,
        retry=_PERSISTENT if undo.retry is None else _retry(undo.retry),
        timeout=_LONGEST_UNDOING if limit is None else limit,
        references=tuple(sorted(used.undo.steps)),
    )


def _fallback(fallback: Fallback | None, arguments: Mapping[str, Any], ask: str | None) -> ResolvedFallback | None:
    if fallback is None:
        return None
    given = dict(arguments if fallback.arguments is None else fallback.arguments)
    if isinstance(fallback, AgentFallback):
        return ResolvedFallback(agent=fallback.agent, ask=fallback.ask or ask, arguments=given)
    return ResolvedFallback(skill=fallback.skill, arguments=given)


def _target(target: Target) -> ResolvedTarget:
    if isinstance(target, EmailTarget):
        return ResolvedTarget(email=tuple(target.email), subject=target.subject, text=target.text)
    assert isinstance(target, SlackTarget)
    return ResolvedTarget(slack=target.slack, text=target.text)


def _trigger(trigger: Trigger, automation: Automation, settings: Mapping[str, Any]) -> ResolvedTrigger:
    if isinstance(trigger, ScheduleTrigger):
        return ResolvedTrigger(schedule=trigger.schedule, timezone=trigger.timezone)
    assert isinstance(trigger, FilesTrigger)
    files: Files = trigger.files
    return ResolvedTrigger(
        path=str(evaluate(files.path, {"settings": settings})),
        match=tuple(files.match),
        input=files.input or default_input(automation),
        every=parse_duration(files.every),
    )


def _deadline(deadline: Deadline, settings: Mapping[str, Any]) -> ResolvedDeadline:
    return ResolvedDeadline(within=parse_duration(deadline.within), notify=_told(deadline.notify, settings))


def _check(check: SqlCheck | SkillCheck, settings: Mapping[str, Any]) -> ResolvedCheck:
    if isinstance(check, SqlCheck):
        return ResolvedCheck(name=check.name, schedule=check.schedule, sql=check.sql)
    arguments = evaluate(check.arguments, {"settings": settings})
    return ResolvedCheck(name=check.name, schedule=check.schedule, skill=check.skill, arguments=arguments)


def _told(targets: Sequence[Target], settings: Mapping[str, Any]) -> tuple[ResolvedTarget, ...]:
    """Who is told, settings filled in."""
    rendered = evaluate([_target(target).model_dump() for target in targets], {"settings": settings})
    return tuple(ResolvedTarget.model_validate(target) for target in rendered)


def _inlined(steps: Sequence[ResolvedStep], among: Surroundings) -> dict[str, AgentSpec]:
    ids = {step.agent for step in steps} | {step.fallback.agent for step in steps if step.fallback}
    ids |= {other for step in steps for other in step.others}
    agents = {agent_id: among.agents.get(agent_id) for agent_id in sorted(filter(None, ids))}
    return {agent_id: agent for agent_id, agent in agents.items() if agent is not None}
