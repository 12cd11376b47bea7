"""Takes what ALERT_WEBHOOK=http://127.0.0.1:8080/ sends: what is wrong with the collector, in words.

python -m examples.alert_webhook, then python main.py alert-test
"""

import json
from http.server import BaseHTTPRequestHandler, HTTPServer


class Alerts(BaseHTTPRequestHandler):
    """Prints each alert."""

    def do_POST(self) -> None:
        alert = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        print(alert["text"], flush=True)
        self.send_response(204)
        self.end_headers()


HTTPServer(("127.0.0.1", 8080), Alerts).serve_forever()
