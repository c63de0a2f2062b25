"""One tiny server that stands for all single-user servers: it answers every GET at once."""

from __future__ import annotations

from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import jupyterhub

__all__ = ["main"]

_BODY = b'{"version": "1"}'


class Handler(BaseHTTPRequestHandler):
    """Answers like the part of a single-user server that the hub looks at."""

    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(_BODY)))
        self.send_header("X-JupyterHub-Version", jupyterhub.__version__)
        self.end_headers()
        self.wfile.write(_BODY)

    def log_message(self, *args: object) -> None:
        """Say nothing: it is not what is measured."""


class Server(ThreadingHTTPServer):
    """Takes many connections at once, and does not wait for them when it ends."""

    daemon_threads = True
    request_queue_size = 1024


def main() -> None:
    """Listen on a free port, print it, and answer until killed."""
    server = Server(("127.0.0.1", 0), Handler)
    print(server.server_address[1], flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
