"""What happens to a payload: one module per kind, one callback per market."""
