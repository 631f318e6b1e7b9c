"""What a team's chat would be: a server on loopback that keeps what it is told."""

import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Thread


class Webhook:
    """Its address, and the messages so far."""

    def __init__(self, url: str) -> None:
        self.url, self.told = url, list[dict[str, str]]()

    def wait_for(self, count: int) -> list[dict[str, str]]:
        """The messages, as soon as there are so many."""
        deadline = time.monotonic() + 60
        while len(self.told) < count:
            assert time.monotonic() < deadline, self.told
            time.sleep(0.1)
        return self.told

    def block(self, name: str) -> str:
        """Make the Prefect server that PREFECT_API_URL names know it, as ``type/name``."""
        from prefect.blocks.notifications import CustomWebhookNotificationBlock

        said = {"subject": "{{subject}}", "body": "{{body}}"}
        CustomWebhookNotificationBlock(name=name, url=self.url, json_data=said).save(name, overwrite=True)
        return f"custom-webhook/{name}"


@contextmanager
def webhook() -> Iterator[Webhook]:
    """One that listens."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            found.told.append(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))
            self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        found = Webhook(f"http://127.0.0.1:{server.server_port}/")
        thread = Thread(target=server.serve_forever, daemon=True)
        thread.start()
        yield found
        server.shutdown()
        thread.join()
