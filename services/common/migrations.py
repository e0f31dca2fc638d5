"""What each service's Alembic env.py runs, on the connection that `open_database` opened."""

from alembic import context


def run() -> None:
    """Run the migrations inside the caller's transaction, with the version table in the schema."""
    attributes = context.config.attributes
    context.configure(connection=attributes["connection"], version_table_schema=attributes["schema"])
    with context.begin_transaction():
        context.run_migrations()
