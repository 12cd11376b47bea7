"""Alerts to a person: what is told when (planner), and how it is sent (sender), beside the work of the collector.

Threads `alerts` and `heartbeat`, and a look at each second's tick of main. Nothing here is asked for a message.
"""
