"""The SSH gateway: one address by which members reach their servers with ``ssh -J``.

It knows nobody itself. The token service tells it whether a key opens any server, and where the
server is that a client asks for; it passes on what is encrypted between the member's client and the
pod's own sshd, which asks for the member's key once more.
"""
