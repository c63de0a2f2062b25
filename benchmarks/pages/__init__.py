"""How long pages take, and what they weigh, on large books and beside many open event streams."""
