"""The catalogue as it is in force, with what is to be said about it."""

from __future__ import annotations

from pathlib import Path

from jhub_tokens.catalogue import CatalogueError, check_catalogue
from jhub_tokens.catalogue.problems import Problem
from jhub_tokens.catalogue.reading import read_catalogue_text
from jhub_tokens.service.handlers.admin.base import AdminPage
from jhub_tokens.service.handlers.admin.reports import money_text
from jhub_tokens.service.texts import hardware_text
from jhub_tokens.service.views import local_date

__all__ = ["CataloguePage"]


class CataloguePage(AdminPage):
    """Plans, profiles, images, teams and rules."""

    active = "catalogue"

    async def get(self) -> None:
        """Show the catalogue."""
        source = self.service.books.source
        catalogue = source.spoken()
        self.show(
            "admin/catalogue.html",
            catalogue=catalogue,
            path=str(source.path),
            problem=source.problem,
            found=await self.service.workers.read(_check, source.path),
            today=local_date(self.service.clock.now_ms(), catalogue.zone),
            hardware=hardware_text,
            money_text=money_text,
        )


def _check(path: Path) -> tuple[Problem, ...]:
    """Return what `jhub-tokens check` says of the file as it is now: mistakes, else warnings."""
    try:
        report = check_catalogue(read_catalogue_text(str(path)), path.name)
    except CatalogueError as error:
        return error.problems
    return (*report.errors, *report.warnings)
