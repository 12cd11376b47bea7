"""The server side of the page: its files, and the WebSocket session that feeds it. See consumers/web/live/hub.py."""
