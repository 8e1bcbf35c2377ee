"""Benchmarks: what the project promises in figures, measured.

A module here enters its benchmarks in ``BENCHMARKS``, a mapping from a name to a
function that gives the rows of ``ops.bench``; ``./nugpay bench NAME`` runs one.
"""
