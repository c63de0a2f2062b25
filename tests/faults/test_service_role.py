"""Every writing operation works for PostgreSQL's service role, which owns no table."""

import pytest

from tests.faults import operations_beside  # noqa: F401  (adds its operations to the list)
from tests.faults.operations import OPERATIONS
from tests.ledger.conftest import World

pytestmark = [pytest.mark.postgresql, pytest.mark.slow]


@pytest.mark.parametrize("operation", OPERATIONS, ids=str)
def test_the_services_role_can(operation, service_books):
    world = World(service_books())
    try:
        operation.prepare(world)(world.ledger)
        assert world.ledger.audit() == ()
    finally:
        world.ledger.close()
