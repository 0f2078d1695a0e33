"""Alembic's entry point: runs the migrations on the connection `migrate` opened."""

from alembic import context

from muster.migrations import VERSION_TABLE

context.configure(connection=context.config.attributes["connection"], version_table=VERSION_TABLE)
with context.begin_transaction():
    context.run_migrations()
