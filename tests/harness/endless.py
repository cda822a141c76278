"""A registry without end: one image, `anything:tag`, whose layers never stop coming. `python endless.py PORT`."""

from __future__ import annotations

import hashlib
import json
import os
import sys
import time
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

SIZE = 10 << 30
PIECE = os.urandom(256 << 10)
CONFIG = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "rootfs": {"type": "layers", "diff_ids": ["sha256:" + "0" * 64] * 3},
    }
).encode()
CONFIG_DIGEST = "sha256:" + hashlib.sha256(CONFIG).hexdigest()
MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
MANIFEST = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            "digest": CONFIG_DIGEST,
            "size": len(CONFIG),
        },
        "layers": [
            {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{n:064x}", "size": SIZE}
            for n in (1, 2, 3)
        ],
    }
).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"

    def log_message(self, format: str, *args: object) -> None:
        """Nothing."""

    def _send(self, data: bytes, media_type: str) -> None:
        self.send_response(200)
        self.send_header("Content-Type", media_type)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def do_GET(self) -> None:
        """One of the documents, or bytes without end."""
        try:
            if self.path == "/v2/":
                self._send(b"{}", "application/json")
            elif "/manifests/" in self.path:
                self._send(MANIFEST, MANIFEST_TYPE)
            elif CONFIG_DIGEST in self.path:
                self._send(CONFIG, "application/json")
            else:
                self.send_response(200)
                self.send_header("Content-Length", str(SIZE))
                self.end_headers()
                while True:
                    self.wfile.write(PIECE)
                    # So that the test does not fill the disk.
                    time.sleep(0.01)
        except OSError:
            self.close_connection = True


if __name__ == "__main__":
    ThreadingHTTPServer.daemon_threads = True
    server = ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), _Handler)
    print("serving", flush=True)
    server.serve_forever()
