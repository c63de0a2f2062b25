"""jhub-tokens inside JupyterLab and Notebook: a small server extension and its interface."""

from __future__ import annotations

from typing import Any

__all__ = ["__version__", "load_jupyter_server_extension"]
__version__ = "0.1.0"


def _jupyter_labextension_paths() -> list[dict[str, str]]:
    return [{"src": "labextension", "dest": "jhub-tokens-lab"}]


def _jupyter_server_extension_points() -> list[dict[str, Any]]:
    return [{"module": "jhub_tokens_lab"}]


def load_jupyter_server_extension(app: Any) -> None:
    """Start the extension in a server; one that no hub with tokens has started is left alone."""
    from jhub_tokens_lab.extension import load

    load(app)


_load_jupyter_server_extension = load_jupyter_server_extension
