"""SSH keys are found by their fingerprints, for a gateway that is shown one."""

from alembic import op

revision = "0015"
down_revision = "0014"


def upgrade() -> None:
    """Add an index; the previous release does not notice."""
    op.create_index("ix_ssh_keys_fingerprint", "ssh_keys", ["fingerprint"])
