"""`muster skill`: trying one skill by hand, and listing them."""

from __future__ import annotations

import asyncio
import inspect
import json
import re
import traceback
import uuid
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path

import psycopg
import psycopg_pool
import typer

from muster.cli.connections import muster_dsn
from muster.cli.options import pairs
from muster.cli.output import console, emit, messages, open_table
from muster.database import Database
from muster.documents import documents_of
from muster.errors import MusterError, PermanentError
from muster.local.project import Project, find_project
from muster.skills.registry import Skill, SkillContext, get_skill, staying_alive

_KEY = re.compile(r"try/[\w-]{1,64}")


def new_key() -> str:
    """A key for one call by hand, under which its effects are told from those of every other call."""
    return f"try/{uuid.uuid4().hex[:12]}"


def call_skill(name: str, values: Mapping[str, object], project: Project, database: Database, key: str) -> object:
    """Call a skill as a step would, its effects under `key`, and return its result as JSON-ready data.

    Raises:
        MusterError: the skill raised it.
        PermanentError: it failed with any other error; the message says where.
    """
    skill = _found(name, project)
    arguments = skill.arguments(values)
    if skill.wants_context:
        arguments["context"] = _context(project, database, key)
    with _located(f"The skill {name} failed", project), staying_alive(f"The skill {name}"):
        outcome = skill.function(**arguments)
        result = asyncio.run(outcome) if skill.is_async else outcome
    code = inspect.unwrap(skill.function).__code__
    with _located(f"The skill {name} at {code.co_filename}:{code.co_firstlineno} gave back what is no data", project):
        return skill.dump(result)


def _found(name: str, project: Project) -> Skill:
    with _located(f"The module of {name} cannot be imported", project):
        return get_skill(name, project.site_skills)


@contextmanager
def _located(what: str, project: Project) -> Iterator[None]:
    """Turns an error in a skill into a PermanentError that names the line of the site's own files where it came up."""
    try:
        yield
    except (MusterError, psycopg.OperationalError, psycopg_pool.PoolTimeout):
        raise
    except Exception as error:
        lines = [(frame.filename, frame.lineno) for frame in traceback.extract_tb(error.__traceback__)]
        if isinstance(error, SyntaxError) and error.filename is not None:
            lines.append((error.filename, error.lineno))
        own = [line for line in lines if Path(line[0]).is_relative_to(project.site_skills)]
        where = f", at {own[-1][0]}:{own[-1][1]}" if own else ""
        raise PermanentError(
            f"{what}{where}: {type(error).__name__}: {error}".rstrip(": ") + ".",
            remedy="`muster --debug skill` shows the traceback.",
        ) from error


def try_skill(name: str, entries: Sequence[str], *, key: str | None, as_json: bool) -> None:
    """Call a skill with the arguments of the command line and print what it returns.

    Its effects are recorded under `key`, by default a new one. With the key of an earlier call, what that did is not
    done again.
    """
    if key is not None and not _KEY.fullmatch(key):
        raise typer.BadParameter(f"{key!r} is no key that `muster skill` gave.", param_hint="--key")
    key = key or new_key()
    project = find_project()
    values = pairs(entries, "--with", number=Decimal)
    skill = _found(name, project)
    # Only a skill that asks for a context can need the database.
    dsn = muster_dsn(project) if skill.wants_context else "postgresql://127.0.0.1:1/none"
    database = Database(dsn, max_size=2)
    try:
        if skill.wants_context:
            _announce(skill.name, key)
        answer = call_skill(name, values, project, database, key)
    finally:
        database.close()
    if as_json:
        emit(answer)
    else:
        console().print_json(json.dumps(answer, ensure_ascii=False))


def _announce(name: str, key: str) -> None:
    # On standard error, so that standard output holds what the skill returns and nothing else.
    messages().print(
        f"{name} is called for real: what it does outside and in the database is done, under the key {key}."
        f"\nThe same again, not done twice: --key {key}. What it did outside: `muster effects --run {key}`.",
        markup=False,
    )


def list_skills(*, as_json: bool) -> None:
    """List every skill, the shipped ones and the site's own."""
    from muster.skills.index import skill_index

    project = find_project()
    index = skill_index(project.site_skills).entries
    if as_json:
        emit([{"name": entry.name, "lane": entry.lane, "summary": entry.summary} for entry in index.values()])
        return
    table = open_table("skill", "lane", "what it does")
    for name in sorted(index):
        table.add_row(name, index[name].lane, index[name].summary)
    console().print(table)


def _context(project: Project, database: Database, key: str) -> SkillContext:
    workspace = project.artifacts / key
    workspace.mkdir(parents=True, exist_ok=True)
    return SkillContext(
        run=key,
        step="try",
        key=key,
        now=datetime.now(UTC),
        database=database,
        workspace=workspace,
        # A command reads with the rights of the person who types it, so no folder is closed to it here.
        documents=documents_of({}, shared=[Path("/")]),
    )
