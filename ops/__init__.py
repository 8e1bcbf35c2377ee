"""Operations: what starts, stops, joins and shows the other rooms.

The command line, the embedded PostgreSQL and EVM node, the supervisor of
``nugpay up``, the worker, the benchmarks' form and the one place where the
processes are put together. It may import every room, and no room imports it.
"""
