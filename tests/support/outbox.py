"""A database whose connection ends as a notice is written down."""

from __future__ import annotations

from muster.database import Database


def lost_as_it_is_written(database: Database, times: int = 1) -> None:
    """The server ends the connection of whoever writes into the outbox, so often."""
    with database.connection() as connection:
        connection.execute("CREATE SEQUENCE cuts")
        connection.execute(
            f"""
            CREATE FUNCTION cut() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
            BEGIN
              IF nextval('cuts') <= {times} THEN
                PERFORM pg_terminate_backend(pg_backend_pid());
                PERFORM pg_sleep(1);
              END IF;
              RETURN NEW;
            END $$
            """  # type: ignore[arg-type]
        )
        connection.execute("CREATE TRIGGER cut BEFORE INSERT ON outbox FOR EACH ROW EXECUTE FUNCTION cut()")
