"""How fast the books are: against the same statements without our code, a peer, and their size."""
