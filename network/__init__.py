"""Network access to exchanges for streams and REST: proxies, certificates, deadlines, and bounds of connections.

Depends on no exchange and no payload; imports no other package of the project but model.
"""
