"""What all suites share: databases, the long form, and figures told at the end of the run."""

import pytest

from tests.databases import (  # noqa: F401  (fixtures, found by their names)
    books_maker,
    database_url,
    postgres_template,
    postgres_url,
    service_books,
    sqlite_template,
)

FIGURE = "figure"


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the long form of faults and state machines, as a nightly run should",
    )
    parser.addoption("--image", default="", help="a built image to run (make images-test)")


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
