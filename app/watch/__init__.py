"""`python main.py watch`: what a running collector publishes, in any terminal. Starts no thread."""
