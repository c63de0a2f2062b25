"""The images that members run in: what they are made of, and the tool that makes them."""
