"""The sandbox: what a bank without real money lets clients try.

Nothing here is part of an application that is no sandbox: it is composed at the start
(wallet_api.app), so that no payment elsewhere asks whether this is one.
"""
