"""The tests' streams are those of the conformance runs, over the model instead of a ledger's answers."""

from benchmarks.conformance.streams import ACCOUNT_IDS, Request, Stream

__all__ = ["ACCOUNT_IDS", "Request", "Stream"]
