"""Promise: what a child run knows of a person reaches no log of a run that is not about them."""

from __future__ import annotations

from pathlib import Path

import psycopg
import pytest

from muster.database import Database
from muster.events.personal import Vault
from muster.operations.forgetting import forget
from support.children import Family
from support.runs import MASTER

MARKER = "Erika-Mustermann-4711"
SKILLS = f"""
from muster.errors import PermanentError
from muster.skills import skill

@skill("desk.read")
def read(id: int) -> dict:
    "Whom a letter is from."
    return {{"person": "{MARKER}", "all": [{{"person": "{MARKER}", "page": 1}}], "total": 5}}

@skill("desk.unread")
def unread(id: int) -> str:
    "Undoes it."
    return "took it back from {MARKER}"

@skill("desk.fail")
def fail(id: int) -> None:
    "Fails."
    raise PermanentError("broken")
"""
PARENT = """
inputs: {n: {type: integer, default: 1}}
steps:
  - {id: deliver, run: child, with: {id: '{{ inputs.n }}'}, timeout: 1h}
"""
CHILD = """
personal: {subject: "{{ inputs.id }}", impersonal: [read], fields: [FIELDS]}
inputs: {id: {type: integer}}
steps:
  - {id: read, skill: desk.read, with: {id: "{{ inputs.id }}"}UNDO}
"""
FIELDS = "steps.read.output.person, steps.read.output.all.person"


def written(dsn: str, run: str) -> str:
    with psycopg.connect(dsn) as connection:
        rows = connection.execute("SELECT type, data::text FROM events WHERE stream = %s ORDER BY version", (run,))
        return "\n".join(map(str, rows))


@pytest.mark.parametrize(
    ("fields", "known"),
    [(FIELDS, {"person": None, "all": [{"person": None, "page": 1}], "total": 5}), ("steps.read.output", None)],
)
def test_a_parent_that_is_about_nobody_is_given_nothing_that_is_personal(
    tmp_path: Path, database: Database, dsn: str, fields: str, known: object
) -> None:
    child = CHILD.replace("FIELDS", fields).replace("UNDO", "")
    family = Family(tmp_path, database, {"parent": PARENT, "child": child}, skills={"desk": SKILLS})
    run = family.open("parent")
    asked = family.ask(run, "deliver")
    family.play(family.begin(asked))
    family.follow(run, "deliver")
    family.finish(run)
    assert family.site.state(run).step("deliver").output["outputs"] == {"read": known}
    assert MARKER not in written(dsn, asked.run) + written(dsn, run)
    forget(database, Vault(lambda: MASTER), "1", by="lead")
    assert MARKER not in written(dsn, asked.run) + written(dsn, run)


def test_what_undoing_an_impersonal_step_gave_back_is_sealed(tmp_path: Path, database: Database, dsn: str) -> None:
    undo = ', compensate: {skill: desk.unread, with: {id: "{{ inputs.id }}"}}'
    child = CHILD.replace("FIELDS", FIELDS).replace("UNDO", undo) + "  - {id: bad, skill: desk.fail, with: {id: 1}}\n"
    family = Family(tmp_path, database, {"child": child}, skills={"desk": SKILLS})
    run = family.open("child", id=1)
    family.play(run)
    assert "compensation.succeeded" in family.types(run)
    assert MARKER not in written(dsn, run)


def test_a_run_about_several_is_forgotten_with_each_of_them(tmp_path: Path, database: Database, dsn: str) -> None:
    child = """
personal: {subject: "{{ inputs.names }}"}
inputs: {names: {type: array}}
steps:
  - {id: read, skill: desk.read, with: {id: 1}}
"""
    family = Family(tmp_path, database, {"child": child}, skills={"desk": SKILLS})
    run = family.open("child", names=["anna", "ben"])
    family.play(run)
    assert family.site.state(run).step("read").output["person"] == MARKER
    assert forget(database, Vault(lambda: MASTER), "ben", by="lead").runs == 1
    assert MARKER not in str(family.site.state(run).step("read").output)
