"""The subcommands of ``jhub-tokens``: a module each, with `add_arguments` and `run`."""

from __future__ import annotations

from jhub_tokens.command_error import CommandError

__all__ = ["COMMANDS", "CommandError"]

#: Name (also of the module) and summary of each command, in the order of the help.
COMMANDS = {
    "demo": "Run a whole JupyterHub on this computer to try everything out",
    "serve": "Run the token service",
    "ssh-gateway": "Run the gateway by which members reach their servers with ssh -J",
    "migrate": "Create or upgrade the schema of the books, and let the service's role work there",
    "check": "Check a catalogue file, naming the line and the remedy for each mistake",
    "helm-values": "Write what a cluster's charts must know of a catalogue",
    "grant": "Give a member tokens, or take some back",
    "voucher": "Make, list and revoke codes that members redeem for tokens",
    "account": "Make, approve and remove accounts with passwords, the first admin included",
    "sync-directory": "Take in what a sign-in provider's directory says of members",
    "statement": "Show where a member's tokens of a month went",
    "break-glass": "Let starts through for a while, with the token service down",
    "finance": "Report tokens and money, close months, show what is prepaid",
    "export": "Write transactions as CSV, JSON or beancount, for other books",
    "erase": "Erase a member's personal data; the books stay whole",
    "status": "In a terminal of a running server: its balance, burn and time left",
    "simulate": "Try a catalogue on invented members, in virtual time",
    "seal": "Seal the books as they are, to be kept outside the database",
    "audit": "Re-derive every balance from the entries and compare",
}
