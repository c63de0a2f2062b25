"""What a sign-in provider says of somebody, cut down to what an operator's rules ask for.

A provider's answer may be of any size and shape. Only values that a rule of the catalogue names
become facts, so they are no more than the rules themselves, and nothing else about a person is
passed on or kept.
"""

from __future__ import annotations

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field, StringConstraints

__all__ = ["NAMES_MAX", "NAME_LENGTH_MAX", "Facts"]

#: More names of one kind than this are not in anybody's rules.
NAMES_MAX = 1000
NAME_LENGTH_MAX = 500

_Value = Annotated[str, StringConstraints(min_length=1, max_length=NAME_LENGTH_MAX)]
_Names = Annotated[tuple[_Value, ...], Field(max_length=NAMES_MAX)]


class Facts(BaseModel):
    """The values named by rules that hold for one person, each kind sorted."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    provider_groups: _Names = ()
    organisations: _Names = ()
    teams: _Names = ()
    email_domains: _Names = ()
    emails: _Names = ()
    claims: Annotated[dict[_Value, _Names], Field(max_length=NAMES_MAX)] = {}
    #: Why the account may not be used any more, as the provider or the rules say; empty: it may.
    gone: Annotated[str, StringConstraints(max_length=200)] = ""
