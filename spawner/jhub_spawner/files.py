"""A server that opens its member's files and nothing else: how Jupyter is told so.

By arguments, which go before every configuration file, and with the member's own configuration
left unread: it is code, and lies among the files. What other extensions start (a Git hook, a
program behind jupyter-server-proxy) is bounded by the profile's resources and its longest run.
"""

from __future__ import annotations

__all__ = ["FILES_ARGS", "FILES_ENVIRONMENT"]

#: No provisioner has this name, so no kernel is listed and none can start.
_NO_PROVISIONER = "files-only"

FILES_ARGS = (
    "--ServerApp.terminals_enabled=False",
    f"--KernelProvisionerFactory.default_provisioner_name={_NO_PROVISIONER}",
    "--LabApp.extension_manager=readonly",  # the others run pip
)
FILES_ENVIRONMENT = {
    "JUPYTERHUB_DISABLE_USER_CONFIG": "1",
    "JUPYTER_DEFAULT_PROVISIONER_NAME": _NO_PROVISIONER,
    "PYTHONNOUSERSITE": "1",
    "JHUB_SSH": "off",  # in this repository's images
}
