"""Directory sync: what a provider's directory says of members who do not come back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from sqlalchemy import Connection

from jhub_tokens.catalogue import Account, Catalogue, facts_of
from jhub_tokens.facts import Facts
from jhub_tokens.i18n import _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.facts import facts_in, keep_facts
from jhub_tokens.ledger.membership import find_member, follow_account, select_members
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.runner import Runner

__all__ = ["NOT_LISTED", "DirectoryBooks", "DirectoryReport", "judged"]

NOT_LISTED = "the account is not in the directory any more"
NO_ENTRY = "the rules do not let this account in any more"
#: A list that would suspend more than this part of the members is taken for a broken one.
SUSPEND_MAX_PERCENT = 20
#: …unless they are so few.
SUSPEND_FREELY = 5


@dataclass(frozen=True, slots=True)
class DirectoryReport:
    """What a sync has done; names of members in the order of their names."""

    known: int
    unknown: int  # accounts that are no members: they become some when they sign in
    changed: tuple[str, ...]
    suspended: tuple[str, ...]
    restored: tuple[str, ...]


def judged(catalogue: Catalogue, account: Account, *, groups_known: bool) -> Facts:
    """Return the facts of an account, gone if the rules do not let it in.

    Where the account's groups on the hub are not known, a rule on them may let it in all the
    same: then only a rule that refuses counts.
    """
    facts = facts_of(account, catalogue.asked)
    decision = catalogue.decide(account.name, account.groups, facts)
    certain = groups_known or not any(rule.groups for rule in catalogue.assign)
    if decision.refused and (certain or decision.rule is not None):
        return facts.model_copy(update={"gone": NO_ENTRY})
    return facts


class DirectoryBooks:
    """Takes in a provider's directory; blocks on the database.

    Parameters
    ----------
    runner
        Runs operations on the books.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner

    def sync(
        self,
        accounts: Mapping[str, Account],
        gone: Mapping[str, str],
        *,
        complete: bool = False,
        force: bool = False,
        dry_run: bool = False,
    ) -> DirectoryReport:
        """Take in what the directory says of `accounts`, by name, and of those that are `gone`.

        A `complete` list says also that who is not in it is gone: of the members whom the
        provider has ever told of, for there may be others. Plans follow when the hub next tells
        of a member, since the rules may be about groups of the hub. Each member is one
        transaction; a sync that was cut short can be repeated.

        Raises
        ------
        LedgerError
            ``too_many_gone`` if a fifth of the members would be suspended, unless `force`.
        """
        plan, unknown = self._runner.read(_plan, accounts, gone, complete)
        suspends = sum(step.suspends for step in plan.values())
        # Of those alone that a provider speaks for: many members may have no account there.
        if suspends > max(SUSPEND_FREELY, len(plan) * SUSPEND_MAX_PERCENT // 100) and not force:
            raise LedgerError(
                "too_many_gone",
                _(
                    "This list would suspend %(suspends)s of %(members)s members. Check that it "
                    "is whole, and say force if it is.",
                    suspends=suspends,
                    members=len(plan),
                ),
                "accounts",
            )
        found: dict[str, list[str]] = {"changed": [], "suspended": [], "restored": []}
        for name, step in sorted(plan.items()):
            if not dry_run:
                self._runner.write(_tell, step.member_id, step.facts)
            if step.changed:
                found["changed"].append(name)
            if step.suspends:
                found["suspended"].append(name)
            if step.restores:
                found["restored"].append(name)
        return DirectoryReport(
            len(plan), unknown, **{key: tuple(names) for key, names in found.items()}
        )


@dataclass(frozen=True, slots=True)
class _Step:
    """What is to be told of one member, and what comes of it."""

    member_id: str
    facts: Facts
    changed: bool
    suspends: bool
    restores: bool


def _plan(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    accounts: Mapping[str, Account],
    gone: Mapping[str, str],
    complete: bool,
) -> tuple[dict[str, _Step], int]:
    """Return a step for each member concerned, by name, and how many accounts are no members."""
    plan: dict[str, _Step] = {}
    holders = select_members().where(schema.members.c.holds_name.is_(True))
    for row in connection.execute(holders).mappings():
        name, known = row["name"], facts_in(row)
        if name in gone:
            facts = (known or Facts()).model_copy(update={"gone": gone[name]})
        elif name in accounts:
            facts = judged(catalogue, accounts[name], groups_known=False)
        elif complete and known is not None:
            facts = known.model_copy(update={"gone": NOT_LISTED})
        else:
            continue
        plan[name] = _Step(
            row["member_id"],
            facts,
            changed=facts != known,
            suspends=bool(facts.gone) and row["state"] == "active",
            restores=not facts.gone and row["state"] == "frozen" and bool(row["froze"]),
        )
    return plan, len((accounts.keys() | gone.keys()) - plan.keys())


def _tell(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, facts: Facts
) -> None:
    row = find_member(connection, schema.members.c.member_id == member_id)
    assert row is not None
    if facts != facts_in(row):
        keep_facts(connection, now_ms, row, facts)
    follow_account(connection, catalogue, now_ms, row, facts)
