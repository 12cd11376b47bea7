"""The parts of the WSS output: who may come in, who gets what, in which dialect. See consumers/web/server.py."""
