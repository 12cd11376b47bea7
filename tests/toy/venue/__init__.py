"""Toy, an exchange that is made up: spot alone."""
