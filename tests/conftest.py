"""Options that all suites share."""


def pytest_addoption(parser):
    parser.addoption(
        "--thorough",
        action="store_true",
        help="run the state machines for as many steps as a nightly run should",
    )
