# SPDX-License-Identifier: Apache-2.0
# Copyright the airflow-provider-deepchecks authors
"""A server that reads uploads and answers 200 at once, so that only the sender is measured.

All other requests go to a stand-in behind it, which knows the models. Runs as its own process::

    python -m tests.bench.sink http://127.0.0.1:8000

prints its port, and then the bytes and rows of uploads received so far for each line on its standard input.
Rows are counted until the line ``trust`` and again from the line ``count`` on: counting takes a core away
from the sender.
"""

from __future__ import annotations

import re
import sys
import threading
from http.client import HTTPConnection
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Final
from urllib.parse import urlsplit

UPLOADS: Final = {
    "POST": re.compile(r"/api/v1/model-versions/\d+/data"),
    "PUT": re.compile(r"/api/v1/model/\d+/labels"),
}
#: Once in each row, whatever else its text holds: quotes inside of a text are escaped.
ROW: Final = b'"_dc_sample_id":'
#: Headers that belong to one connection, not to the answer.
HOP_BY_HOP: Final = {
    "connection",
    "keep-alive",
    "transfer-encoding",
    "content-length",
    "host",
    "date",
    "server",
}


class Sink(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, upstream: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.upstream = urlsplit(upstream).netloc
        self.rows = self.bytes = 0
        self.counting = True
        #: Uploads whose sender may have its answer, and that are not counted yet.
        self.uncounted = 0
        self.counted = threading.Condition()


class Handler(BaseHTTPRequestHandler):
    server: Sink
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True
    #: A whole answer in one packet.
    wbufsize = -1

    def setup(self) -> None:
        super().setup()
        self.buffer = bytearray(1 << 20)

    def _handle(self) -> None:
        size = int(self.headers.get("Content-Length", 0))
        if size > len(self.buffer):
            self.buffer = bytearray(size)
        body = memoryview(self.buffer)[:size]
        self.rfile.readinto(body)
        if not self._is_upload():
            self._forward(bytes(body))
            return
        with self.server.counted:
            self.server.uncounted += 1
        self._answer(200, {}, b"")
        # Counted once the sender has its answer: it does not wait for this, whoever asks for the counts does.
        rows = self.buffer.count(ROW, 0, size) if self.server.counting else 0
        with self.server.counted:
            self.server.rows += rows
            self.server.bytes += size
            self.server.uncounted -= 1
            self.server.counted.notify_all()

    do_GET = do_POST = do_PUT = do_DELETE = _handle

    def _is_upload(self) -> bool:
        path = UPLOADS.get(self.command)
        return path is not None and path.fullmatch(self.path) is not None

    def _forward(self, body: bytes) -> None:
        connection = HTTPConnection(self.server.upstream, timeout=30)
        headers = {name: value for name, value in self.headers.items() if name.lower() not in HOP_BY_HOP}
        connection.request(self.command, self.path, body or None, headers)
        answer = connection.getresponse()
        content = answer.read()
        self._answer(answer.status, dict(answer.getheaders()), content)
        connection.close()

    def _answer(self, status: int, headers: dict[str, str], body: bytes) -> None:
        self.send_response(status)
        for name, value in headers.items():
            if name.lower() not in HOP_BY_HOP:
                self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)
        self.wfile.flush()

    def log_message(self, format: str, *args: object) -> None:
        """Say nothing: writing lines would be measured too."""


def main() -> None:
    sink = Sink(sys.argv[1])
    print(sink.server_port, flush=True)
    threading.Thread(target=sink.serve_forever, daemon=True).start()
    for line in sys.stdin:
        with sink.counted:
            sink.counted.wait_for(lambda: not sink.uncounted, timeout=10)
            if line.strip() in ("count", "trust"):
                sink.counting = line.strip() == "count"
            print(sink.bytes, sink.rows, flush=True)


if __name__ == "__main__":
    main()
