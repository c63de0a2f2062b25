"""What all fault tests share: books on both databases, and whether this is the long form."""

import pytest


@pytest.fixture
def thorough(request):
    """Whether this is the long run (``--thorough``)."""
    return request.config.getoption("--thorough")
