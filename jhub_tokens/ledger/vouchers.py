"""Vouchers: made in batches by an administrator, each redeemed once by one member."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from sqlalchemy import Connection, delete, func, insert, select, update

from jhub_tokens.catalogue import Catalogue
from jhub_tokens.i18n import N_, _
from jhub_tokens.ledger import schema
from jhub_tokens.ledger.allowances import spend_allowance
from jhub_tokens.ledger.closing import close_wallet
from jhub_tokens.ledger.credits import check_room
from jhub_tokens.ledger.deadlines import notify
from jhub_tokens.ledger.loading import load_wallet
from jhub_tokens.ledger.money_records import VoucherBatch, VoucherRedeemed
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.ledger.repeats import Repeat
from jhub_tokens.ledger.rows import new_id
from jhub_tokens.ledger.runner import Runner
from jhub_tokens.ledger.voucher_codes import code_hash, new_code, read_code
from jhub_tokens.ledger.wallet import OpenWallet
from jhub_tokens.units import GRAINS_MAX, GRAINS_PER_MILLITOKEN

__all__ = ["TRIES_IN_AN_HOUR", "VoucherBooks"]

#: Wrong codes that one member may try within an hour.
TRIES_IN_AN_HOUR = 10
VOUCHERS_MAX = 10_000
_HOUR_MS = 3_600_000
_LASTS_MAX_MS = 3660 * 24 * _HOUR_MS
_b, _v, _t = schema.voucher_batches, schema.vouchers, schema.voucher_tries


class VoucherBooks:
    """The operations on vouchers, each one transaction.

    Parameters
    ----------
    runner
        Runs them.
    make_code
        Returns a new code each time.
    """

    def __init__(self, runner: Runner, make_code: Callable[[], str] = new_code) -> None:
        self._runner = runner
        self._make_code = make_code

    def make(
        self,
        *,
        count: int,
        amount_grains: int,
        expires_ms: int | None = None,
        tokens_last_ms: int | None = None,
        note: str = "",
        actor: str,
        caller: str,
        key: str,
    ) -> tuple[VoucherBatch, tuple[str, ...]]:
        """Make a batch of `count` vouchers and return it with its codes, which are kept nowhere.

        Parameters
        ----------
        amount_grains
            What each voucher is worth.
        expires_ms
            Until when they can be redeemed; None: for ever.
        tokens_last_ms
            How long the tokens last once redeemed; None: for ever.

        Raises
        ------
        LedgerError
            ``bad_count``, ``bad_amount``, ``bad_expiry``, ``admin_limit``, ``batch_made`` for a
            repeated key, or ``idempotency_conflict``; nothing was written.
        """
        codes = tuple(self._make_code() for _ in range(min(max(0, count), VOUCHERS_MAX)))
        batch = self._runner.write(
            _make,
            codes,
            count=count,
            amount_grains=amount_grains,
            expires_ms=expires_ms,
            tokens_last_ms=tokens_last_ms,
            note=note,
            actor=actor,
            caller=caller,
            key=key,
        )
        return batch, codes

    def redeem(self, member_id: str, code: str) -> VoucherRedeemed:
        """Credit a member with a voucher, once; the same member and code: the same answer.

        Raises
        ------
        LedgerError
            ``unknown_member``, ``mistyped_code``, ``unknown_voucher``, ``voucher_used``,
            ``voucher_expired``, ``voucher_revoked``, ``too_many_tries`` or ``too_much``.
        """
        done = self._runner.write(_redeem, member_id, code)
        if isinstance(done, LedgerError):
            raise done  # outside the transaction, which remembers the wrong try
        return done

    def revoke(self, batch_id: str, *, actor: str) -> VoucherBatch:
        """Let no more vouchers of a batch be redeemed. Idempotent.

        Raises
        ------
        LedgerError
            If there is no such batch (``unknown_batch``).
        """
        return self._runner.write(_revoke, batch_id, actor)

    def batches(
        self, *, page: int = 1, page_size: int = 50
    ) -> tuple[tuple[VoucherBatch, ...], int]:
        """Return a page of batches, the newest first, and how many there are in all."""
        return self._runner.read(_batches, page, page_size)


# --- making ------------------------------------------------------------------------------------


def _make(
    connection: Connection,
    catalogue: Catalogue,
    now_ms: int,
    codes: tuple[str, ...],
    *,
    count: int,
    amount_grains: int,
    expires_ms: int | None,
    tokens_last_ms: int | None,
    note: str,
    actor: str,
    caller: str,
    key: str,
) -> VoucherBatch:
    _check(now_ms, count, amount_grains, expires_ms, tokens_last_ms)
    whole = count * amount_grains
    request = ["vouchers", count, str(amount_grains), expires_ms, tokens_last_ms, note]
    repeat = Repeat(connection, caller, key, request)
    _refuse_repeat(repeat)
    # No wallet to lock here: two requests with one key wait for each other at the allowance.
    spend_allowance(connection, catalogue, now_ms, actor=actor, caller=caller, amount_grains=whole)
    _refuse_repeat(repeat)  # it may have been booked while this one waited
    batch = {
        "batch_id": new_id(),
        "vouchers": count,
        "amount_grains": amount_grains,
        "note": note,
        "actor": actor,
        "made_ms": now_ms,
        "expires_ms": expires_ms,
        "tokens_last_ms": tokens_last_ms,
    }
    connection.execute(insert(_b), batch)
    rows = [
        {"code_hash": code_hash(read_code(code) or ""), "batch_id": batch["batch_id"]}
        for code in codes
    ]
    connection.execute(insert(_v), rows)
    repeat.keep({"batch_id": batch["batch_id"]}, now_ms)
    return _batch(connection, str(batch["batch_id"]))


def _check(
    now_ms: int,
    count: int,
    amount_grains: int,
    expires_ms: int | None,
    tokens_last_ms: int | None,
) -> None:
    if not 1 <= count <= VOUCHERS_MAX:
        message = _("A batch has 1 to %(most)s vouchers.", most=f"{VOUCHERS_MAX:,}")
        raise LedgerError("bad_count", message, "count")
    if not 0 < amount_grains <= GRAINS_MAX or amount_grains % GRAINS_PER_MILLITOKEN:
        message = _("A voucher is worth more than 0 tokens, with at most three decimal places.")
        raise LedgerError("bad_amount", message, "tokens")
    if expires_ms is not None and expires_ms <= now_ms:
        message = _("Vouchers cannot expire in the past; give a later day, or none.")
        raise LedgerError("bad_expiry", message, "expires")
    if tokens_last_ms is not None and not 0 < tokens_last_ms <= _LASTS_MAX_MS:
        message = _("The tokens last 1 to 3,660 days; leave it out if they do not expire.")
        raise LedgerError("bad_expiry", message, "tokens_last_days")


def _refuse_repeat(repeat: Repeat) -> None:
    answered = repeat.answer()
    if answered is not None:
        raise LedgerError(
            "batch_made",
            _(
                "This key made the batch %(batch)s already; its codes were shown then and are kept "
                "nowhere. If they are lost, revoke it and make another with a new key.",
                batch=answered["batch_id"],
            ),
            "key",
        )


# --- redeeming ---------------------------------------------------------------------------------


def _redeem(
    connection: Connection, catalogue: Catalogue, now_ms: int, member_id: str, code: str
) -> VoucherRedeemed | LedgerError:
    """Redeem, or return the refusal: raising it would forget the wrong try."""
    plain = read_code(code)
    if plain is None:
        message = _(
            "This is no valid voucher code. A code has 20 letters and digits: look for a "
            "typing error."
        )
        return LedgerError("mistyped_code", message, "code")
    wallet = load_wallet(connection, catalogue, now_ms, member_id)
    query = (
        select(_v, _b)
        .join(_b, _b.c.batch_id == _v.c.batch_id)
        .where(_v.c.code_hash == code_hash(plain))
        .with_for_update(of=_v)
    )
    row = connection.execute(query).mappings().first()
    if row is not None and row[_v.c.member_id] == member_id:
        return _redeemed(row, int(row[_v.c.redeemed_ms]), int(row[_v.c.balance_grains]))
    refusal = _too_many(connection, now_ms, member_id)
    if refusal is not None:
        return refusal
    refusal = _not_redeemable(row, now_ms)
    if refusal is not None:
        wrong = {"try_id": new_id(), "member_id": member_id, "at_ms": now_ms}
        connection.execute(insert(_t), wrong)
        return refusal
    return _credit(wallet, catalogue, row)


def _too_many(connection: Connection, now_ms: int, member_id: str) -> LedgerError | None:
    mine = _t.c.member_id == member_id
    connection.execute(delete(_t).where(mine, _t.c.at_ms <= now_ms - _HOUR_MS))
    tries, first_ms = connection.execute(
        select(func.count(), func.min(_t.c.at_ms)).select_from(_t).where(mine)
    ).one()
    if tries < TRIES_IN_AN_HOUR:
        return None
    minutes = max(1, -(-(first_ms + _HOUR_MS - now_ms) // 60_000))
    return LedgerError(
        "too_many_tries",
        _(
            "%(tries)s codes were wrong within an hour. Try again in %(minutes)s min.",
            tries=TRIES_IN_AN_HOUR,
            minutes=minutes,
        ),
        "code",
    )


def _not_redeemable(row: Any, now_ms: int) -> LedgerError | None:
    if row is None:
        message = _("There is no such voucher; look for a typing error.")
        return LedgerError("unknown_voucher", message, "code")
    if row[_v.c.member_id] is not None:
        return LedgerError("voucher_used", _("This voucher was redeemed before."), "code")
    if row[_b.c.revoked_ms] is not None:
        message = _("This voucher was withdrawn; ask whoever gave it to you.")
        return LedgerError("voucher_revoked", message, "code")
    if row[_b.c.expires_ms] is not None and row[_b.c.expires_ms] <= now_ms:
        return LedgerError("voucher_expired", _("This voucher has expired."), "code")
    return None


def _credit(wallet: OpenWallet, catalogue: Catalogue, row: Any) -> VoucherRedeemed:
    now_ms, amount = wallet.now_ms, int(row[_b.c.amount_grains])
    wallet.advance()
    check_room(wallet, amount)
    lasts_ms = row[_b.c.tokens_last_ms]
    wallet.credit(
        "voucher",
        amount,
        at_ms=wallet.at_ms,
        starts_ms=now_ms,
        expires_ms=None if lasts_ms is None else now_ms + lasts_ms,
        actor=row[_b.c.actor],
        reason=N_("voucher of batch %(batch)s") % {"batch": row[_b.c.batch_id][:8]},
    )
    wallet.forget_warnings()
    notify(wallet, "credited", {"grains": str(amount), "kind": "voucher", "reason": "voucher"})
    close_wallet(wallet, catalogue)
    balance = wallet.projected().balance()
    done = {
        "member_id": wallet.row["member_id"],
        "redeemed_ms": now_ms,
        "transaction_id": wallet.last_transaction_id,
        "balance_grains": balance,
    }
    this = _v.c.code_hash == row[_v.c.code_hash]
    wallet.connection.execute(update(_v).where(this).values(done))
    return _redeemed(row, now_ms, balance)


def _redeemed(row: Any, redeemed_ms: int, balance: int) -> VoucherRedeemed:
    lasts_ms = row[_b.c.tokens_last_ms]
    expires_ms = None if lasts_ms is None else redeemed_ms + lasts_ms
    return VoucherRedeemed(int(row[_b.c.amount_grains]), balance, redeemed_ms, expires_ms)


# --- batches -----------------------------------------------------------------------------------


def _revoke(
    connection: Connection, catalogue: Catalogue, now_ms: int, batch_id: str, actor: str
) -> VoucherBatch:
    standing = update(_b).where(_b.c.batch_id == batch_id, _b.c.revoked_ms.is_(None))
    connection.execute(standing.values(revoked_ms=now_ms, revoked_by=actor))
    return _batch(connection, batch_id)


def _batches(
    connection: Connection, catalogue: Catalogue, now_ms: int, page: int, page_size: int
) -> tuple[tuple[VoucherBatch, ...], int]:
    total = connection.execute(select(func.count()).select_from(_b)).scalar_one()
    query = _select_batches().order_by(_b.c.made_ms.desc(), _b.c.batch_id)
    some = query.limit(page_size).offset((page - 1) * page_size)
    return tuple(_record(row) for row in connection.execute(some).mappings()), total


def _batch(connection: Connection, batch_id: str) -> VoucherBatch:
    query = _select_batches().where(_b.c.batch_id == batch_id)
    row = connection.execute(query).mappings().first()
    if row is None:
        raise LedgerError("unknown_batch", _("There is no such batch of vouchers."), "batch_id")
    return _record(row)


def _select_batches() -> Any:
    redeemed = select(func.count(_v.c.member_id)).where(_v.c.batch_id == _b.c.batch_id)
    return select(_b, redeemed.scalar_subquery().label("redeemed"))


def _record(row: Any) -> VoucherBatch:
    return VoucherBatch(
        row["batch_id"],
        row["vouchers"],
        row["redeemed"],
        row["amount_grains"],
        row["note"],
        row["actor"],
        row["made_ms"],
        row["expires_ms"],
        row["tokens_last_ms"],
        row["revoked_ms"],
        row["revoked_by"],
    )
