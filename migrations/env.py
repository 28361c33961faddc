"""How alembic reaches the database: a connection given by `hydra.storage.schema`, or the settings.

From the command line: `alembic upgrade head`, `alembic downgrade base`, `alembic current`.
"""

from alembic import context
from sqlalchemy import Connection

from hydra.settings import load_settings
from hydra.storage.database import open_engine, parse_url
from hydra.storage.schema import VERSION_TABLE
from hydra.storage.tables import metadata


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        transactional_ddl=True,
    )
    with context.begin_transaction():
        context.run_migrations()


given = context.config.attributes.get("connection")
if given is not None:
    run(given)
elif context.is_offline_mode():
    context.configure(
        dialect_name=parse_url(load_settings().db_url).get_backend_name(),
        target_metadata=metadata,
        version_table=VERSION_TABLE,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    url = load_settings().db_url
    with open_engine(url, create=True, writes=True, durable=True).connect() as opened:
        run(opened)
        opened.commit()
