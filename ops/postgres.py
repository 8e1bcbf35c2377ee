"""The embedded PostgreSQL: a real server under ``$NUGPAY_HOME/postgres``, without installing one.

``ensure_running`` makes the cluster if there is none, starts the server if it
does not run, waits as long as crash recovery takes, and answers only when the
server is durable and ready. Any number of processes may call it at once. ``stop``
ends it. A home may have a standby (:mod:`ops.postgres_standby`): the two are
started and stopped together, and after a fail-over the other one is meant.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import psycopg

from foundation.postgres import DURABLE_SETTINGS, DurabilityRefused, refuse_weak_durability, sync_url
from foundation.settings import Settings
from ops.cluster import APPEAR_SECONDS_MAX, Cluster, Report
from ops.errors import PostgresError
from ops.postgres_pair import read_pair, serving_home, standby_home
from ops.postgres_settings import ROLE


def ensure_running(
    home: Path, *, changes: Mapping[str, str] | None = None, report: Report | None = None
) -> str:
    """Start the server of ``home`` and its standby unless they run, and return the URL.

    After a fail-over the server of ``home`` is the one that was its standby.

    ``changes`` are settings beside the tuned ones, for tests. Raises
    ``PostgresError`` when it does not come up, and ``DurabilityRefused`` when
    somebody turned off what keeps acknowledged commits safe.
    """
    say = report or (lambda _: None)
    cluster = Cluster(serving_home(home), say)
    with cluster.lock():
        cluster.prepare()
        # A server that runs now may be on its way out: killed a moment ago, or being stopped by hand.
        if cluster.server_process() is None or not cluster.becomes_ready(grace_seconds=0):
            cluster.configure(changes)
            cluster.start()
            if not cluster.becomes_ready(grace_seconds=APPEAR_SECONDS_MAX):
                raise PostgresError("PostgreSQL does not start", f"Its last words:\n{cluster.last_words()}")
        try:
            cluster.make_application_database()
        except psycopg.OperationalError:
            # Ready a moment ago: a backend was killed, and the server recovers by itself.
            if not cluster.becomes_ready(grace_seconds=APPEAR_SECONDS_MAX):
                raise
            cluster.make_application_database()
        _refuse_weak_cluster(cluster)
    _start_standby(cluster.home, changes, say)
    return _url(cluster)


def stop(home: Path, *, immediate: bool = False) -> None:
    """Stop the server of ``home`` and its standby; nothing happens when there is none.

    Clients are disconnected, everything committed is kept. ``immediate`` ends it
    as a crash would: the next start recovers.
    """
    serving = serving_home(home)
    # The standby goes second: an orderly stop hands it the last of the journal.
    for each in (serving, standby_home(serving)):
        cluster = Cluster(each, lambda _: None) if each is not None else None
        if cluster is not None and cluster.data.exists():
            with cluster.lock():
                cluster.stop(immediate=immediate)


def running_pid(home: Path) -> int | None:
    """The process id of the server of ``home``, or None."""
    process = Cluster(serving_home(home), lambda _: None).server_process()
    return process.pid if process is not None else None


def is_whole(home: Path) -> bool:
    """Whether the server of ``home`` runs, and its standby if there is one."""
    standby = standby_home(serving_home(home))
    return running_pid(home) is not None and (
        standby is None or Cluster(standby, lambda _: None).server_process() is not None
    )


def database_url(settings: Settings) -> str:
    """Where the database is: as set, or where the embedded server would be."""
    return settings.database_url or _url(Cluster(serving_home(settings.home), lambda _: None))


def refuse_weak_server(url: str) -> None:
    """Raise ``DurabilityRefused`` when the server there could forget a commit."""
    with psycopg.connect(sync_url(url), autocommit=True, connect_timeout=10) as connection:
        values = {}
        for name in DURABLE_SETTINGS:
            row = connection.execute("select current_setting(%s)", [name]).fetchone()
            assert row is not None
            values[name] = row[0]
    refuse_weak_durability(values)


def _url(cluster: Cluster) -> str:
    """Where clients find the server, and its standby if that has taken over."""
    pair = read_pair(cluster.home)
    if pair is None:
        return cluster.url(ROLE)
    return cluster.url_with(Cluster(pair.peer, cluster.report), ROLE)


def _refuse_weak_cluster(cluster: Cluster) -> None:
    """Raise ``DurabilityRefused``, with the server stopped, when it could forget a commit."""
    try:
        refuse_weak_server(cluster.url(ROLE))
    except DurabilityRefused:
        cluster.stop(immediate=False)
        raise


def _start_standby(home: Path, changes: Mapping[str, str] | None, report: Report) -> None:
    """Start the standby of a primary: while it is down, commits wait for it."""
    standby = standby_home(home)
    if standby is None:
        return
    try:
        cluster = Cluster(standby, report)
        with cluster.lock():
            if cluster.server_process() is None or not cluster.becomes_ready(grace_seconds=0):
                cluster.make_way()
                cluster.configure(changes)
                cluster.start()
                cluster.becomes_ready(grace_seconds=APPEAR_SECONDS_MAX)
    except (PostgresError, OSError) as error:
        # The primary runs all the same; who cannot wait for the standby may detach it.
        report(f"the standby in {standby} does not start: {error}; see docs/operations-standby.md")
