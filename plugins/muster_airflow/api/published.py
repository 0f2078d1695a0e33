"""What Airflow knows of automations: which are published, and their YAML as it was written."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any

from airflow.models.dag import DagModel, DagTag
from airflow.models.dagrun import DagRun
from airflow.models.serialized_dag import SerializedDagModel
from airflow.utils.session import create_session
from sqlalchemy import select

from muster_airflow.compiler.documentation import Written, as_written
from muster_airflow.reference import automation_of

if TYPE_CHECKING:
    from sqlalchemy.orm import Session

TAG = "muster"
NOT_VALID = "not valid"


@dataclass(frozen=True, kw_only=True)
class Published:
    """One automation as Airflow has it now."""

    automation: str
    title: str
    description: str | None
    tags: tuple[str, ...]
    """Its category and department."""
    valid: bool
    paused: bool
    bundle_version: str | None
    next_run: datetime | None


def published(visible: Collection[str]) -> list[Published]:
    """The automations among the Dags with these ids, by title."""
    with create_session() as session:
        tagged = select(DagTag.dag_id).where(DagTag.name == TAG)
        dags = session.scalars(select(DagModel).where(DagModel.dag_id.in_(tagged), DagModel.is_stale.is_(False)))
        listed = [_published(dag) for dag in dags.unique() if dag.dag_id in visible and not _stands_beside(dag)]
    return sorted(listed, key=lambda entry: (entry.title.casefold(), entry.automation))


def current(dag_id: str) -> tuple[Published, Written | None] | None:
    """A published automation and its YAML; None if the Dag is not an automation."""
    with create_session() as session:
        dag = session.get(DagModel, dag_id)
        if dag is None or TAG not in {tag.name for tag in dag.tags}:
            return None
        return _published(dag), _written(_latest(session, dag_id))


def written_for_run(dag_id: str, run_id: str, definition: str | None) -> str | None:
    """The YAML that the definition with this hash was made from, while Airflow still has it."""
    with create_session() as session:
        for serialized in (_of_run(session, dag_id, run_id), _latest(session, dag_id)):
            written = _written(serialized)
            # Compared by hash: the latest Dag may hold YAML that was edited since the run began.
            if written is not None and definition is not None and definition.startswith(written.version):
                return written.source
    return None


def _published(dag: DagModel) -> Published:
    names = {tag.name for tag in dag.tags}
    return Published(
        automation=dag.dag_id,
        title=dag.dag_display_name,
        description=dag.description,
        tags=tuple(sorted(names - {TAG, NOT_VALID})),
        valid=NOT_VALID not in names,
        paused=bool(dag.is_paused),
        bundle_version=dag.bundle_version,
        next_run=dag.next_dagrun_create_after,
    )


def _stands_beside(dag: DagModel) -> bool:
    return automation_of(dag.dag_id) != dag.dag_id


def _latest(session: Session, dag_id: str) -> SerializedDagModel | None:
    return SerializedDagModel.get(dag_id, session=session)


def _of_run(session: Session, dag_id: str, run_id: str) -> SerializedDagModel | None:
    joined = select(SerializedDagModel).join(DagRun, DagRun.created_dag_version_id == SerializedDagModel.dag_version_id)
    return session.scalar(joined.where(DagRun.dag_id == dag_id, DagRun.run_id == run_id))


def _written(serialized: SerializedDagModel | None) -> Written | None:
    data: dict[str, Any] = (serialized.data if serialized is not None else None) or {}
    text = data.get("dag", {}).get("doc_md")
    return as_written(text) if isinstance(text, str) else None
