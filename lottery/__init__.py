"""Lottery: draws whose tickets, beacon, prizes and proof anyone can check.

A ticket is a transfer into the draw's escrow, its id derived from the draw,
series and number, so that a number sells once. The room has no code yet: its
place among the rooms is fixed, so that nothing below may come to depend on it.
"""
