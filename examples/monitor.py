"""Is all well, and how old is the data: what probes and Prometheus read.

python -m examples.monitor
"""

import json
import urllib.error
import urllib.request

try:
    with urllib.request.urlopen("http://127.0.0.1:9500/readyz") as answer:
        print("ready:", json.load(answer)["ready"])
except urllib.error.HTTPError as not_ready:  # 503
    print("not ready:", json.load(not_ready)["reasons"])
with urllib.request.urlopen("http://127.0.0.1:9500/metrics") as answer:
    print(*(line for line in answer.read().decode().splitlines() if line.startswith("collector_")), sep="\n")
