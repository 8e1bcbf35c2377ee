"""Conformance: one random stream for two ledgers, every answer and every read compared.

One ledger is ours, the other a TigerBeetle, or ours again. ``streams`` makes the
requests, ``knowledge`` is what the stream may know of the ledgers, ``timestamps``
tells the same moments of two clocks, ``questions`` makes the reads, and ``run`` sends
and compares.
"""
