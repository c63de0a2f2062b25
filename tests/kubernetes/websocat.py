"""As much of websocat as the shown command needs: ``websocat --binary -H=HEADER URL``."""

from __future__ import annotations

import os
import sys
import threading

import websocket

_PIECE = 1 << 16


def main() -> None:
    """Pass on what comes from ssh, and to it."""
    header = next(each.removeprefix("-H=") for each in sys.argv if each.startswith("-H="))
    socket = websocket.create_connection(sys.argv[-1], header=[header], timeout=60)

    def out() -> None:
        while data := socket.recv():
            os.write(1, data if isinstance(data, bytes) else data.encode())
        os._exit(0)

    threading.Thread(target=out, daemon=True).start()
    while data := os.read(0, _PIECE):
        socket.send_binary(data)
    socket.close()


if __name__ == "__main__":
    main()
