"""Who is who: an automation names people as they sign in, and Airflow matches what its auth manager calls them.

A person is one name everywhere in Muster: in an automation, as the one who asked for a run (Airflow's
`triggering_user_name`), and as the one who answers. An auth manager may have an id beside it (FAB a number, Keycloak
the subject of the token), which Airflow compares with a question's assignees. So the API server, knowing its people,
writes their ids there. Where it cannot know them it leaves the list empty: then Airflow lets everybody through who may
answer at all, and `muster_airflow.answers` decides by the name, as it does in any case.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi import HTTPException

from muster_airflow.logins import read_anew
from muster_airflow.reference import QUESTION

if TYPE_CHECKING:
    from airflow.models.hitl import HITLDetail

log = logging.getLogger(__name__)


def listen() -> None:
    """Have every question put to people whom Airflow can tell from others; needed once in each process."""
    from airflow.models.hitl import HITLDetail
    from sqlalchemy import event

    if event.contains(HITLDetail, "before_insert", _before_insert):
        return
    event.listen(HITLDetail, "before_insert", _before_insert)
    if _kind(_configured()) is None:
        log.warning(
            "Muster cannot ask the auth manager %s for its people: who may answer is matched by name when somebody"
            " does, and an assignee who does not exist is not noticed before.",
            _configured().__name__,
        )


def known_ids(manager: Any, names: Sequence[str]) -> Mapping[str, str] | None:
    """The auth manager's ids, by name, of those of these people whom it knows; None if it cannot be asked."""
    kind = _kind(type(manager))
    if kind == "SimpleAuthManager":
        return _simple(names)
    return _fab(names) if kind == "FabAuthManager" else None


def _before_insert(mapper: Any, connection: Any, detail: HITLDetail) -> None:
    from airflow.api_fastapi.app import get_auth_manager
    from airflow.models.taskinstance import TaskInstance
    from sqlalchemy import select

    asks = connection.scalar(select(TaskInstance.operator).where(TaskInstance.id == detail.ti_id))
    if asks != QUESTION:
        return
    names = [assignee["name"] for assignee in detail.assignees or ()]
    manager = get_auth_manager()
    ids = known_ids(manager, names)
    # Refused as the question is put: the step fails in words, and does not wait for an answer that nobody can give.
    if ids is not None and not ids:
        raise HTTPException(
            HTTPStatus.UNPROCESSABLE_ENTITY,
            f"Nobody can answer: {type(manager).__name__} knows no {' and no '.join(names)}. Name people as they sign"
            " in to Airflow; whose login is made at the first sign-in has to sign in once before.",
        )
    # A login may be made at its first sign-in, so an id may be unknown yet, and Airflow would refuse that person. With
    # an empty list Airflow lets everybody through, and the name decides.
    complete = ids is not None and set(ids) == set(names)
    detail.assignees = [{"id": ids[name], "name": name} for name in names] if ids and complete else []


def _simple(names: Sequence[str]) -> Mapping[str, str] | None:
    from airflow.api_fastapi.auth.managers.simple.simple_auth_manager import SimpleAuthManager
    from airflow.configuration import conf

    if conf.getboolean("core", "simple_auth_manager_all_admins"):
        return None
    # People may have been added since somebody last signed in.
    read_anew()
    known = {user.get_name() for user in SimpleAuthManager.get_users()}
    # All of them if one is known: here the id is the name, so a name that is unknown yet can be nobody else's id.
    return {name: name for name in names} if known.intersection(names) else {}


def _fab(names: Sequence[str]) -> Mapping[str, str]:
    from airflow.providers.fab.auth_manager.models import User  # type: ignore[import-not-found]
    from airflow.utils.session import create_session
    from sqlalchemy import select

    with create_session(scoped=False) as session:
        users = session.execute(select(User.username, User.id).where(User.username.in_(names), User.active))
        return {name: str(id) for name, id in users}


def _kind(manager: type[Any]) -> str | None:
    names = [base.__name__ for base in manager.__mro__]
    return next((name for name in ("SimpleAuthManager", "FabAuthManager") if name in names), None)


def _configured() -> type[Any]:
    from airflow.api_fastapi.app import get_auth_manager_cls

    return get_auth_manager_cls()
