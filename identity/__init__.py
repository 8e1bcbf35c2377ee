"""Identity: people, their devices and keys, and signed requests.

A person is nothing but an id; no phone number, e-mail or name is needed. A
device proves with its own key that a request is its owner's wish. The room knows
no wallets and no HTTP.
"""
