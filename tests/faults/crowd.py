"""Members by the thousand: copies of a real one, with books that stand the audit."""

import uuid

from sqlalchemy import insert, select

from jhub_tokens.ledger import schema
from jhub_tokens.ledger.chain import Entry, Naming, transaction_hash
from jhub_tokens.ledger.store import Store, open_engine

CHUNK = 2_000


class Copies:
    """Copies one idle member's rows, each copy with ids and a hash chain of its own."""

    def __init__(self, url, member_id):
        self.store = Store(open_engine(url))
        with self.store.read() as connection:

            def rows(table, *where):
                return [dict(r) for r in connection.execute(select(table).where(*where)).mappings()]

            (self.member,) = rows(schema.members, schema.members.c.member_id == member_id)
            (self.subscription,) = rows(
                schema.subscriptions, schema.subscriptions.c.member_id == member_id
            )
            (self.wallet,) = rows(schema.wallets, schema.wallets.c.member_id == member_id)
            mine = self.wallet["wallet_id"]
            (self.grant,) = rows(schema.grants, schema.grants.c.wallet_id == mine)
            (self.transaction,) = rows(schema.transactions, schema.transactions.c.wallet_id == mine)
            transaction_id = self.transaction["transaction_id"]
            self.entries = rows(schema.entries, schema.entries.c.transaction_id == transaction_id)

    def make(self, count):
        """Write `count` copies."""
        for start in range(0, count, CHUNK):
            copies = [self._copy(number) for number in range(start, min(count, start + CHUNK))]
            with self.store.write() as connection:
                for table in copies[0]:
                    rows = [row for copy in copies for row in copy[table]]
                    connection.execute(insert(table), rows)
        self.store.close()

    def _copy(self, number):
        member_id, subscription_id, wallet_id, transaction_id = (uuid.uuid4().hex for _ in range(4))
        ids = {"member_id": member_id, "wallet_id": wallet_id, "transaction_id": transaction_id}
        grant = {**self.grant, "grant_id": f"{subscription_id}-0-plan", "wallet_id": wallet_id}
        entries = [
            {**entry, **ids, "grant_id": entry["grant_id"] and grant["grant_id"]}
            for entry in self.entries
        ]
        for entry in entries:
            del entry["member_id"], entry["wallet_id"]
        transaction = {**self.transaction, "transaction_id": transaction_id, "wallet_id": wallet_id}
        transaction["hash"] = transaction_hash(
            "",
            *(transaction[name] for name in ("transaction_id", "wallet_id", "number", "kind")),
            *(transaction[name] for name in ("at_ms", "booked_ms")),
            [
                Entry(
                    *(entry[name] for name in ("account", "amount_grains", "grant_id")),
                    *(entry[name] for name in ("session_id", "from_ms", "to_ms")),
                )
                for entry in entries
            ],
            Naming(*(transaction[name] for name in ("actor", "reason", "remark_hash"))),
        )
        person = {"hub_user_id": 1_000_000 + number, "name": f"copy-{number}"}
        return {
            schema.members: [{**self.member, "member_id": member_id, **person}],
            schema.subscriptions: [
                {**self.subscription, "subscription_id": subscription_id, "member_id": member_id}
            ],
            schema.wallets: [
                {
                    **self.wallet,
                    "wallet_id": wallet_id,
                    "member_id": member_id,
                    "head_hash": transaction["hash"],
                }
            ],
            schema.grants: [grant],
            schema.transactions: [transaction],
            schema.entries: entries,
        }
