"""``python -m ops``: the command line, as ``./nugpay`` starts it."""

from ops.cli import main

main()
