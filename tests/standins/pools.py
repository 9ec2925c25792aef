"""A pool over a PostgreSQL's address, as the settings would open it, but without warm connections."""

from proxy.settings import DSQL
from proxy.stores.dsql.connect import open_pool
from proxy.stores.dsql.pool import Pool


def open_dsn_pool(dsn: str, *, maximum: int, connect_seconds: float = 60) -> Pool:
    """Opens no connection before one is asked for: the database may be down."""
    return open_pool(DSQL(dsn=dsn, pool_min=0, pool_max=maximum, connect_rate=100, timeout_seconds=connect_seconds))
