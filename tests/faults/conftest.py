"""What all fault tests share: books on both databases, and whether this is the long form."""

import pytest

from tests.ledger.conftest import (  # noqa: F401  (fixtures, found by their names)
    database_url,
    postgres_template,
    postgres_url,
    service_books,
    sqlite_template,
)


@pytest.fixture
def thorough(request):
    """Whether this is the long run (``--thorough``)."""
    return request.config.getoption("--thorough")
