"""The wallet API: HTTP and nothing else.

Routes parse, call one use case and answer; refusals of the rooms become
problem+json in one table. Money and rules live in the rooms below.
"""
