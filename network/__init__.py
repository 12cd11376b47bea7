"""How anything of ours reaches an exchange: the proxy, the certificates, the deadline and the bounds of a connection.

One way for streams and REST alike. Knows no exchange and no payload; imports nothing of ours.
"""
