"""Muster's tables: Alembic migrations, applied by `migrate`."""

from __future__ import annotations

from pathlib import Path

import psycopg

from muster.errors import MusterError, TransientError

VERSION_TABLE = "muster_alembic_version"
"""Where Alembic notes the revision: a name of our own, so that a database may be shared with anything."""

_LOCK = 0x6D7573746572  # "muster"


def migrate(dsn: str, revision: str = "head") -> None:
    """Bring the database's schema to `revision`; safe to call from many processes at once.

    Raises:
        TransientError: the database cannot be reached.
        MusterError: a migration failed; nothing of it was applied.
    """
    from alembic import command
    from alembic.config import Config
    from sqlalchemy import create_engine, exc, pool, text

    # psycopg reads the DSN itself: a libpq URI or keyword string need not be a valid SQLAlchemy URL.
    engine = create_engine("postgresql+psycopg://", creator=lambda: psycopg.connect(dsn), poolclass=pool.NullPool)
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            # Whoever comes second waits here, then finds nothing left to do.
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _LOCK})
            config.attributes["connection"] = connection
            command.upgrade(config, revision)
    except (exc.OperationalError, psycopg.OperationalError) as error:
        raise TransientError(
            f"The database could not be migrated: {error}",
            remedy="Check that it runs and that its DSN is right.",
        ) from error
    except exc.SQLAlchemyError as error:
        raise MusterError(f"A migration failed and was rolled back: {error}") from error
