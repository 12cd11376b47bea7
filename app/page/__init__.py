"""What the page shows of a running collector, and the feeds of what it looks at."""
