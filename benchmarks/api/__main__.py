"""The load generator as a program of its own; requests and answers are MessagePack.

python -m benchmarks.api HOST PORT CONNECTIONS RATE < requests > answers
"""

from __future__ import annotations

import sys

import msgspec
import uvloop

from benchmarks.api.load import send


def main() -> None:
    """Read requests, send them, write what became of them."""
    host, port, connections, rate = sys.argv[1:]
    requests = msgspec.msgpack.decode(sys.stdin.buffer.read(), type=list[bytes])
    answers = uvloop.run(send(host, int(port), int(connections), float(rate), requests))
    sys.stdout.buffer.write(msgspec.msgpack.encode(answers))


if __name__ == "__main__":
    main()
