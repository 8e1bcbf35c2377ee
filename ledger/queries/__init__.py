"""Queries: histories, searches, statements, balances as of a time, and changes that can be followed."""
