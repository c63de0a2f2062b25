"""Migrations of the books: forward only; the previous release keeps working beside each."""
