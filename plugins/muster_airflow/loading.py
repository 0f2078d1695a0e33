"""What a Dag file calls: a folder of automations becomes Dags in its namespace."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from airflow.sdk import DAG

    from muster.events.bundles import Scheduled
    from muster.language import Catalogue, Definition
    from muster.language.problems import Problem


def load_automations(
    namespace: dict[str, Any], include: str | os.PathLike[str] | None = None, *, reconciler: bool = True
) -> None:
    """Put one Dag for each automation below `include` into `namespace`, and the one that looks after their runs.

    In a task process only the Dag that is needed is built. An automation that is not valid becomes
    a Dag whose runs fail and say what is wrong; it hides no other. In a version that a bundle has published,
    what only the rules of today refuse is built all the same: its runs go on, and the next publishing refuses it.

    Args:
        namespace: the Dag file's `globals()`.
        include: the folder that holds `automations/`; by default `include` beside the Dag file's folder.
        reconciler: False leaves out the Dag `muster_reconciler`: in a second Dag file, for example. `MUSTER_RECONCILE`
            is when it runs, as a cron expression, or `off`.
    """
    from airflow.sdk import get_parsing_context

    from muster.language import load_folder
    from muster.language.folder import collector_paused
    from muster_airflow.published import is_published
    from muster_airflow.scheduled import read_since

    folder = Path(include) if include is not None else Path(namespace["__file__"]).resolve().parent.parent / "include"
    wanted = get_parsing_context().dag_id
    with collector_paused():
        published = is_published(folder.parent)
        catalogue = load_folder(folder, only=_automation(wanted), published=published)
        # A task is not asked when its Dag runs next.
        since = read_since(folder.parent) if published and wanted is None else {}
        for dag in (*_dags(catalogue, since), *(_reconciler(folder, wanted) if reconciler else ())):
            if wanted is None or dag.dag_id == wanted:
                namespace[dag.dag_id] = dag


def _dags(catalogue: Catalogue, since: Mapping[str, Scheduled]) -> Iterable[DAG]:
    from muster_airflow.compiler.stub import build_stub
    from muster_airflow.scheduled import schedule_of

    for name, definition in catalogue.definitions.items():
        source = catalogue.sources[name]
        try:
            known = since.get(name)
            has_it_since = known.since if known is not None and known.schedule == schedule_of(definition) else None
            dags = _whole(definition, source.read_text(), has_it_since)
        except Exception as error:
            # Something that only building the Dag shows, for example an operator whose module raises at its import. It
            # must not hide the other automations of this Dag file.
            problems = catalogue.broken.get(source)
            dags = [build_stub(name, _text(problems) if problems else f"{source.name}: {error}")]
        yield from dags
    for name, problems in _unusable(catalogue).items():
        yield build_stub(name, _text(problems))


def _text(problems: Iterable[Problem]) -> str:
    return "\n\n".join(str(problem) for problem in problems)


def _whole(definition: Definition, source: str, since: datetime | None) -> list[DAG]:
    """All Dags of an automation. An error in one of them is raised, so that an automation is loaded whole or not."""
    from muster_airflow.compiler import build_dag
    from muster_airflow.compiler.triggers import dags_beside

    return [build_dag(definition, source, since), *dags_beside(definition)]


def _reconciler(include: Path, wanted: str | None) -> Iterable[DAG]:
    from muster_airflow.reference import RECONCILER

    if wanted in (None, RECONCILER):
        from muster_airflow.compiler.reconciler import build_reconciler

        dag = build_reconciler(include)
        if dag is not None:
            yield dag


def _unusable(catalogue: Catalogue) -> dict[str, list[Problem]]:
    """The problems of automations that have no definition, by name."""
    by_name: dict[str, list[Problem]] = {}
    for path, problems in catalogue.broken.items():
        name = re.sub(r"\W", "_", catalogue.called[path])
        if name not in catalogue.definitions:
            by_name.setdefault(name, []).extend(problems)
    return by_name


def _automation(dag_id: str | None) -> str | None:
    """The automation a Dag id belongs to."""
    from muster_airflow.reference import automation_of

    return automation_of(dag_id) if dag_id else None
