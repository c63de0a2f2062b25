"""A real but tiny single-user server: where only its life matters, not JupyterLab.

It answers every GET, and ends by itself on a GET of …/exit.
"""

import os
import sys
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit


class Handler(BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        body = (f"hello from {os.environ['JUPYTERHUB_USER']} in {os.getcwd()}").encode()
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        if self.path.endswith("/exit"):
            threading.Thread(target=self.server.shutdown).start()

    def log_message(self, *args: object) -> None:
        pass


if __name__ == "__main__":
    if "--slow" in sys.argv:
        threading.Event().wait(60)
    url = urlsplit(os.environ["JUPYTERHUB_SERVICE_URL"])
    ThreadingHTTPServer((url.hostname or "127.0.0.1", url.port or 0), Handler).serve_forever()
