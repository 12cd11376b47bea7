"""A function of one's own for each gap and each repair, and the state of the collector.

python -m examples.feed_events
"""

from feed import Feed

feed = Feed()
print("ready:", feed.status()["ready"], flush=True)
feed.on("gap", lambda event: print("gap:", event, flush=True))
feed.on("repaired", lambda event: print("repaired:", event, flush=True))
feed.wait()
