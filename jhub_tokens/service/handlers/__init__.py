"""HTTP in and out, no decisions: each handler asks the books and shows what they say."""
