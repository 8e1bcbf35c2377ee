"""How a pair of PostgreSQL servers stands, in words for whoever was woken up."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString

import psycopg

from ops.cluster import Cluster
from ops.postgres_pair import Part, read_pair, serving_home, standby_home
from ops.postgres_settings import STANDBY

_BEHIND = (
    "select max(pg_wal_lsn_diff(pg_current_wal_flush_lsn(), flush_lsn)) from pg_stat_replication"
    " where application_name = %s"
)
_FOLLOWS = "select count(*) > 0 from pg_stat_wal_receiver where status = 'streaming'"


@dataclass(frozen=True)
class ServerState:
    """One server of the pair."""

    part: Part
    home: Path
    words: str
    is_well: bool


def pair_states(home: Path) -> list[ServerState]:
    """The server that takes writes, then its standby; ``home`` is either of them."""
    primary = serving_home(home)
    states = [_primary_state(Cluster(primary, lambda _: None))]
    standby = standby_home(primary)
    if standby is None:
        pair = read_pair(primary)
        if pair is not None and pair.peer.exists():
            words = f"may not be started again; make it the standby: ./nugpay standby create {pair.peer}"
            states.append(ServerState(Part.REPLACED, pair.peer, words, False))
        return states
    states.append(_standby_state(Cluster(standby, lambda _: None)))
    return states


def _primary_state(cluster: Cluster) -> ServerState:
    if cluster.server_process() is None:
        return ServerState(Part.PRIMARY, cluster.home, "does not run", False)
    try:
        with cluster.as_superuser() as connection:
            waits = _value(connection, "select current_setting('synchronous_standby_names') <> ''")
            waiting = _value(connection, "select count(*) from pg_stat_activity where wait_event = 'SyncRep'")
            behind = _value(connection, _BEHIND, STANDBY)
    except psycopg.OperationalError as error:
        return ServerState(Part.PRIMARY, cluster.home, f"does not answer: {str(error).strip()}", False)
    if not waits:
        return ServerState(Part.PRIMARY, cluster.home, "takes writes, and waits for no standby", False)
    if behind is None:
        words = f"waits for a standby that is not connected; {waiting} commits stand still"
        return ServerState(Part.PRIMARY, cluster.home, words, False)
    words = f"takes writes; each waits for the standby, which is {behind} bytes behind"
    return ServerState(Part.PRIMARY, cluster.home, words, True)


def _standby_state(cluster: Cluster) -> ServerState:
    pair = read_pair(cluster.home)
    is_complete = pair is not None and pair.is_complete
    may = "may take over" if is_complete else "is not complete and may not take over"
    if cluster.server_process() is None:
        return ServerState(Part.STANDBY, cluster.home, f"does not run; {may}", False)
    try:
        with cluster.as_superuser() as connection:
            follows = bool(_value(connection, _FOLLOWS))
    except psycopg.OperationalError as error:
        words = f"does not answer: {str(error).strip()}; {may}"
        return ServerState(Part.STANDBY, cluster.home, words, False)
    words = f"{'follows' if follows else 'does not follow'}; {may}"
    return ServerState(Part.STANDBY, cluster.home, words, follows and is_complete)


def _value(connection: psycopg.Connection, query: LiteralString, *values: str) -> object:
    row = connection.execute(query, values).fetchone()
    assert row is not None
    return row[0]
