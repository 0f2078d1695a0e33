"""Airflow's connections: the one to Muster's database, and their secrets, which nothing that is written may hold."""

from __future__ import annotations

from typing import TYPE_CHECKING

from muster.errors import MusterError, TransientError
from muster.redaction import connection_secrets, learn

if TYPE_CHECKING:
    from airflow.sdk.definitions.connection import Connection

CONNECTION = "muster_db"
"""The Airflow connection that holds Muster's database."""


def dsn_of(connection: Connection) -> str:
    """A libpq URI, as the Postgres provider understands the connection.

    Raises:
        MusterError: the connection is of another type.
    """
    from airflow.providers.postgres.hooks.postgres import PostgresHook

    learn_connection(connection)
    # The secrets are known first, so that no error from here on can take one of them into a log.
    if connection.conn_type not in ("postgres", "postgresql"):
        raise MusterError(
            f"The Airflow connection {CONNECTION!r} is of type {connection.conn_type!r}.",
            remedy="Make it a Postgres connection to Muster's database.",
        )
    url = PostgresHook(connection=connection).sqlalchemy_url.set(drivername="postgresql")
    return url.update_query_dict(_libpq_options(connection)).render_as_string(hide_password=False)


def muster_dsn() -> str:
    """The DSN of Muster's database, found the way this process finds its connections: a task, or a part of Airflow.

    Raises:
        TransientError: no such connection is set, or it cannot be looked up now.
    """
    from airflow.sdk import Connection

    try:
        connection = Connection.get(CONNECTION)
    except Exception as error:
        raise TransientError(
            f"The Airflow connection {CONNECTION!r} was not found: {error}.", remedy="Set it to Muster's database."
        ) from error
    return dsn_of(connection)


def dsn_in_server() -> str:
    """The same in Airflow's API server, which finds its connections in another way.

    Raises:
        TransientError: no such connection is set; each request is answered with that until it is.
    """
    from airflow.models.connection import Connection
    from airflow.sdk.exceptions import AirflowNotFoundException

    try:
        return dsn_of(Connection.get_connection_from_secrets(CONNECTION))
    except AirflowNotFoundException as error:
        raise TransientError(
            f"There is no Airflow connection {CONNECTION!r}.", remedy="Set it to Muster's database."
        ) from error


def learn_connection(connection: Connection) -> None:
    """Keep the connection's secrets out of all that this process writes."""
    learn(connection.password, *connection_secrets(connection.extra or ""))


def _libpq_options(connection: Connection) -> dict[str, str]:
    """What libpq takes from the connection's extra; the provider's own keys stay out."""
    known = {"sslmode", "sslcert", "sslkey", "sslrootcert", "options", "application_name", "connect_timeout"}
    return {key: str(value) for key, value in connection.extra_dejson.items() if key in known}
