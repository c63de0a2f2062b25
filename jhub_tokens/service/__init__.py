"""The token service: REST API, pages, warden and metrics beside a JupyterHub."""
