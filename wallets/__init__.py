"""Wallets: a handle, an account in every asset, and payments between them.

What is paid stands in the ledger and nowhere else: a payment has no row here.
The room knows no HTTP and no chain.
"""
