"""Agents: people who turn cash into money on the ledger and back.

The room of float, cash-in and cash-out, remittances, commissions and settlement.
Every product here is a pattern of ledger transfers; the room keeps no balance
of its own. It has no code yet: its place among the rooms is fixed, so that
nothing below may come to depend on it.
"""
