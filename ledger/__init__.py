"""Ledger: the double-entry engine, with TigerBeetle's contract on PostgreSQL.

It knows accounts and transfers, and no product, person or chain. The map:

    contract      the vocabulary: accounts, transfers, flags, filters, limits
    statuses      every answer to an attempt to create, in order of precedence
    records       the packed 128-byte records of the contract
    state         what the engine holds in memory: accounts in columns, ids, pendings
    state_machine the exact sequential function that decides every event
    decisions     whole requests: the vectorised step where it holds, exactly elsewhere
    journal       the tables, their canonical bytes, append and replay
    engine        one writer: lock, group commit, recovery, answers
    reader        histories and queries, in SQL
    interface     what callers see, in process or through the socket
    server/client the ledger process and its client
    chart         which accounts and transfers the products use
"""
