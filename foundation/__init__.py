"""Foundation: what every room stands on, and nothing of the business.

Money and assets, ids, the clock, errors, the database, settings, logs and the
outbox. The list is short and closed: a thing belongs here only when every room
needs it and it knows no product.
"""
