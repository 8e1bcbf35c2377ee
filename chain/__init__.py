"""The EVM chain: what happened on it, and what we send to it.

JSON-RPC, a block follower that survives reorgs, what it observed, the deployed
contracts, the sender and the signer. It knows nothing of the ledger.
"""
