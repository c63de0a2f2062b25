"""What runs inside the JupyterHub process: client, agent, templates and `configure`."""

from jhub_tokens.hub.configure import configure

__all__ = ["configure"]
