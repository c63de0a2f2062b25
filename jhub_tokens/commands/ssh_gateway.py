"""``jhub-tokens ssh-gateway``: run the SSH gateway."""

from __future__ import annotations

import argparse
import asyncio
import os
import signal

import structlog

from jhub_tokens import __version__
from jhub_tokens.commands import CommandError
from jhub_tokens.gateway.settings import (
    GatewaySettings,
    SettingsError,
    add_arguments,
    gateway_settings_from,
)
from jhub_tokens.service.logs import configure_logs

__all__ = ["add_arguments", "run"]

log = structlog.get_logger(__name__)


def run(args: argparse.Namespace) -> int:
    """Run until told to stop."""
    try:
        asyncio.run(_serve(gateway_settings_from(args)))
    except SettingsError as error:
        raise CommandError(str(error), 2) from None
    return 0


async def _serve(settings: GatewaySettings) -> None:
    # Only a gateway carries the library.
    try:
        from jhub_tokens.gateway.server import running_gateway
    except ModuleNotFoundError as error:
        raise SettingsError(
            f"the gateway needs the extra gateway, which lacks here ({error.name}): "
            "pip install jhub-tokens[gateway]"
        ) from None
    told = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, told.set)
    async with running_gateway(settings) as port:
        configure_logs(os.environ.get("JHUB_TOKENS_LOG_FORMAT", "") or "console")
        log.info("listening", port=port, service=settings.service_url, version=__version__)
        await told.wait()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.remove_signal_handler(number)  # told twice, it waits for nobody
