"""Whether enough people can sign in to give the approvals that automations ask for."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator

from muster.cli.connections import airflow_elsewhere
from muster.language.definition import Definition
from muster.language.expressions import is_expression
from muster.language.kinds.human import ResolvedHuman, ResolvedHumanStep
from muster.local.credentials import credentials_file, load_credentials
from muster.local.project import Project


def too_few_logins(project: Project, definitions: Iterable[Definition]) -> Iterator[tuple[str, str]]:
    """Each question that too few people can answer: what is wrong, and what to do about it.

    None where Airflow runs elsewhere or was never started, because then it is not known here who can sign in.
    """
    if airflow_elsewhere() or not credentials_file(project.state).exists():
        return
    logins = load_credentials(project.state).logins
    # A viewer may look and not answer.
    able = {name for name, login in logins.items() if login.role != "viewer"}
    for definition in definitions:
        for step in definition.steps:
            if not isinstance(step, ResolvedHumanStep) or (people := _people(step.human)) is None:
                continue
            if len(able.intersection(people)) < step.human.approvals:
                without = [name for name in people if name not in able]
                yield (
                    f"{definition.name}, step {step.id}: {step.human.approvals} of {', '.join(people)} have to approve,"
                    f" and {', '.join(without)} cannot: no login, or only one to look",
                    f"Add them: {'; '.join(f'`muster users add {name}`' for name in without)}.",
                )


def _people(human: ResolvedHuman) -> Collection[str] | None:
    """Everybody who may ever answer, in their order; None when expressions say who."""
    named = [human.assignees, *(level.to for level in human.escalate)]
    names = [name for entry in named for name in ([entry] if isinstance(entry, str) else entry)]
    return None if any(map(is_expression, names)) else list(dict.fromkeys(names))
