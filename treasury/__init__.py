"""The treasury: the one room that holds both books, the ledger's and the chain's.

Deposits, withdrawals, sweeps, and the reconciliation of custody on chain against
the ledger. Other rooms reach the chain through its use cases only.
"""
