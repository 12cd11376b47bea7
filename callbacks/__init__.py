"""The callbacks of payloads: one module per kind, one callback per market."""
