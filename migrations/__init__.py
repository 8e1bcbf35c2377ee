"""Migrations: how the database came to its present form, one dated file a step.

They only go forward. ``env.py`` says how they are run, ``script.py.mako`` states
the law that each of them obeys.
"""
