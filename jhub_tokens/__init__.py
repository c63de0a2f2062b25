"""jhub-tokens: the token economy of a JupyterHub membership service."""

__version__ = "0.1.0"
