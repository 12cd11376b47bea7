"""The web output: one port with WebSocket envelopes and the exchange's own protocol. See consumers/web/server.py."""
