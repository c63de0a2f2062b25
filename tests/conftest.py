"""What all suites share: databases, the long form, and figures told at the end of the run."""

import os

import pytest
from hypothesis import settings

from tests.databases import (  # noqa: F401  (fixtures, found by their names)
    books_maker,
    database_url,
    postgres_template,
    postgres_url,
    roomy_memory,
    service_books,
    sqlite_template,
)

FIGURE = "figure"

# How long an example takes says more about the machine than about what is tested.
settings.register_profile("jhub-tokens", settings(), deadline=None)
settings.load_profile("jhub-tokens")


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the long form of faults and state machines, as a nightly run should",
    )
    parser.addoption(
        "--guide-images",
        action="store_true",
        help="write the pictures of the guides into docs/images (the pages' journey)",
    )
    parser.addoption("--image", default="", help="a built image to run (make images-test)")


def pytest_configure():
    # Books on SQLite wait for the disk at each commit; what the tests write need not outlive them.
    memory = roomy_memory()
    if memory:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(memory))


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items):
    for item in items:
        if item.get_closest_marker("slow_on_postgresql") and item.get_closest_marker("postgresql"):
            item.add_marker("slow")
    # Whole hubs first: they mostly wait, and what waits last keeps no processor busy.
    suites = ("journeys", "hub")
    items.sort(key=lambda item: next((n for n, s in enumerate(suites) if s in item.path.parts), 2))


@pytest.fixture
def figure(request):
    """Tell a measured figure in the summary: ``figure("kill -9", "50 kills, 0 grains lost")``."""

    def tell(name, value):
        # User properties travel from pytest-xdist's workers, and into a JUnit report.
        request.node.user_properties.append((FIGURE, f"{name}: {value}"))

    return tell


def pytest_terminal_summary(terminalreporter):
    reports = [report for found in terminalreporter.stats.values() for report in found]
    figures = [
        line
        for report in reports
        if getattr(report, "when", None) == "call"
        for name, line in report.user_properties
        if name == FIGURE
    ]
    if figures:
        terminalreporter.section("figures")
        for line in figures:
            terminalreporter.write_line(line)
