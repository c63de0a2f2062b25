"""The demo: a whole JupyterHub with real servers on this computer, for trying everything out.

`state` keeps what must survive a restart, `tools` finds the programs that the hub needs,
`runner` starts and stops it, and ``jupyterhub_config.py`` is the hub's configuration, written
as an operator would write it.
"""
