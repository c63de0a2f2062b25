"""The one boundary where anything that goes wrong becomes an answer.

Handlers raise what they have; `problem_from` turns it into a `Problem` with an HTTP status, a
code for programs, a message and a remedy for people. What nobody foresaw is logged with its
traceback under a number, and the person sees the number only.
"""

from __future__ import annotations

import json
import re
import secrets
from collections.abc import Mapping
from http import HTTPStatus

import structlog
from pydantic import ValidationError
from pydantic_core import ErrorDetails
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, SQLAlchemyError
from tornado.web import HTTPError

from jhub_tokens import i18n
from jhub_tokens.i18n import N_, _, ngettext
from jhub_tokens.ledger import DatabaseProblem
from jhub_tokens.ledger.records import LedgerError
from jhub_tokens.units import AmountError
from jhub_tokens.wire import ErrorBody, Refusal
from jhub_tokens.wire.base import DAY_PATTERN, KEY_PATTERN, MONTH_PATTERN, PERIOD_PATTERN

__all__ = [
    "Problem",
    "SettingsError",
    "Unavailable",
    "invalid",
    "problem_from",
    "url_without_passwords",
    "without_passwords",
]

log = structlog.get_logger(__name__)

_STATUS_OF_LEDGER_CODE = {
    "unknown_member": 404,
    "unknown_order": 404,
    "unknown_session": 404,
    "unknown_plan": 404,
    "unknown_change": 404,
    "unknown_team": 404,
    "not_in_team": 404,
    "not_open": 409,
    "same_plan": 409,
    "not_an_upgrade": 409,
    "no_trial": 409,
    "tried_before": 409,
    "trial_runs": 409,
    "nothing_to_cancel": 409,
    "change_done": 409,
    "wait": 409,
    "not_running": 409,
    "keep_not_allowed": 409,
    "keep_too_long": 409,
    "idempotency_conflict": 409,
    "insufficient": 409,
    "admin_limit": 409,
    "more_than_charged": 409,
    "too_many_gone": 409,
    "nothing_to_refund": 409,
    "unknown_question": 404,
    "nothing_charged": 409,
    "asked_before": 409,
    "answered_before": 409,
    "too_many_open": 409,
    "unknown_invoice": 404,
    "not_manual": 409,
    "invoice_void": 409,
    "month_runs": 409,
    "not_in_order": 409,
    "month_unsettled": 409,
    "servers_run": 409,
    "tokens_bought": 409,
    "fees_run": 409,
    "owes": 409,
    "erased": 409,
    "payment_mismatch": 409,
    "unknown_key": 404,
    "unknown_invitation": 404,
    "no_such_name": 422,
    "in_team": 409,
    "team_full": 409,
    "answered": 409,
    "by_group": 409,
    "key_known": 409,
    "key_name_used": 409,
    "too_many_keys": 409,
    "keys_changed_often": 429,
    "unknown_batch": 404,
    "unknown_voucher": 404,
    "batch_made": 409,
    "voucher_used": 409,
    "voucher_revoked": 409,
    "voucher_expired": 409,
    "too_many_tries": 429,
    "busy": 503,
    "too_many_mails": 429,
}
#: Rather too much than too little: a password may hold slashes, colons and further @.
_PASSWORD = re.compile(r"(://[^/@:\s]*):\S*@")
_PASSWORD_KEY = re.compile(r"((?:password|passwd|pwd)\s*=\s*)('[^']*'|[^\s&]+)", re.IGNORECASE)


class SettingsError(Exception):
    """A setting that is missing or cannot be used; the message names it and the remedy."""


class Problem(Exception):
    """Something to tell the caller.

    Parameters
    ----------
    status
        HTTP status.
    code
        A word for programs.
    message
        One or two sentences for people.
    field
        The field of the request that is to blame, if one is.
    remedy
        What the caller can do.
    refusal
        The refusal of a start, if it is one.
    headers
        Headers that the answer needs.
    """

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        *,
        field: str | None = None,
        remedy: str = "",
        refusal: Refusal | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.field = field
        self.remedy = remedy
        self.refusal = refusal
        self.headers = headers or {}

    @property
    def body(self) -> ErrorBody:
        """The problem as the API answers it."""
        return ErrorBody(
            code=self.code,
            message=self.message,
            field=self.field,
            remedy=self.remedy,
            refusal=self.refusal,
        )

    def for_anybody(self) -> Problem:
        """Return what those may read who do not run this service."""
        return self


class Unavailable(Problem):
    """The books or the catalogue cannot be used right now; trying again later may help.

    Parameters
    ----------
    message, remedy, code
        As of every problem.
    public
        Whether anybody may read the message; others name hosts, users, paths and processes.
    """

    def __init__(
        self, message: str, *, remedy: str = "", code: str = "unavailable", public: bool = False
    ) -> None:
        self.public = public
        super().__init__(
            503,
            code,
            without_passwords(message),
            remedy=without_passwords(remedy),
            headers={"Retry-After": "3"},
        )

    def for_anybody(self) -> Problem:
        """Return the same without the reason, unless anybody may read it."""
        if self.public:
            return self
        return Unavailable(
            _("The token service cannot open its books right now."),
            remedy=_(
                "Try again in a minute. If it stays like this, tell the operator of this hub."
            ),
            code=self.code,
            public=True,
        )

    def spoken(self) -> Unavailable:
        """Return one that was made before, in nobody's language, in that of the task.

        What is not marked for translation names hosts, files and commands: it stays as it is.
        """
        return Unavailable(
            i18n.translated(self.message),
            remedy=i18n.translated(self.remedy) if self.remedy else "",
            code=self.code,
            public=self.public,
        )


def without_passwords(text: str) -> str:
    """Return `text` with the passwords of URLs, and of keys named so, masked."""
    return _PASSWORD_KEY.sub(r"\1***", _PASSWORD.sub(r"\1:***@", text))


def url_without_passwords(url: str) -> str:
    """Return a database URL with its passwords masked, wherever SQLAlchemy finds them."""
    try:
        shown = make_url(url).render_as_string(hide_password=True)
    except (ArgumentError, ValueError):
        shown = url
    return without_passwords(shown)


def invalid(field: str, message: str) -> Problem:
    """Return the problem of one field that cannot be accepted."""
    return Problem(422, "invalid", message, field=field)


def problem_from(error: BaseException) -> Problem:
    """Return the problem that `error` is for the caller; logs what was not foreseen."""
    match error:
        case Problem():
            return error
        case ValidationError():
            return _validation(error)
        case LedgerError():
            status = _STATUS_OF_LEDGER_CODE.get(error.code, 422)
            return Problem(status, error.code, error.message, field=error.field)
        case AmountError():
            return invalid("tokens", _(error.message, text=error.text))
        case DatabaseProblem():
            # Members are not told: see `Unavailable.for_anybody`.
            log.error("database failed", error=without_passwords(error.message))
            return Unavailable(error.message, remedy=error.remedy)
        case SQLAlchemyError():
            log.error("database failed", error=without_passwords(str(error.__cause__ or error)))
            return Unavailable(
                _("The books cannot be reached right now."),
                remedy=_("Try again in a moment; if it stays, tell your administrator."),
                public=True,
            )
        case json.JSONDecodeError():
            message = _(
                "The body is not JSON: %(why)s at line %(line)s.",
                why=error.msg,
                line=error.lineno,
            )
            return Problem(400, "bad_json", message)
        case HTTPError():
            return _http(error)
        case _:
            incident = secrets.token_hex(4)
            log.error("unforeseen error", incident=incident, exc_info=error)
            return Problem(
                500,
                "internal",
                _(
                    "Something went wrong inside the token service (incident %(number)s).",
                    number=incident,
                ),
                remedy=_("Try again; if it happens again, give your administrator that number."),
            )


def _validation(error: ValidationError) -> Problem:
    first, *others = error.errors(include_url=False, include_input=False)
    field = ".".join(str(part) for part in first["loc"]) or "body"
    if first["type"] == "json_invalid":
        message = _("The body is not JSON: %(why)s.", why=first["msg"])
        return Problem(400, "bad_json", message)
    if first["type"] == "extra_forbidden":
        message = _("%(field)s: there is no such field.", field=field)
        return Problem(422, "invalid", message, field=field, remedy=_("Leave it out."))
    message = _("%(field)s: %(what)s.", field=field, what=_parser_text(first))
    if others:
        message += " " + ngettext(
            "(%(count)s more problem in this request.)",
            "(%(count)s more problems in this request.)",
            len(others),
        )
    return Problem(422, "invalid", message, field=field)


#: The parser's words for what callers get wrong, by the parser's names; others stay English.
_PARSER_TEXTS: Mapping[str, str] = {
    "missing": N_("Field required"),
    "string_type": N_("Input should be a valid string"),
    "string_too_short": N_("String should have at least %(min_length)s characters"),
    "string_too_long": N_("String should have at most %(max_length)s characters"),
    "string_pattern_mismatch": N_("String should match pattern '%(pattern)s'"),
    "int_type": N_("Input should be a valid integer"),
    "int_parsing": N_("Input should be a valid integer"),
    "bool_type": N_("Input should be a valid boolean"),
    "list_type": N_("Input should be a valid list"),
    "too_short": N_("There should be at least %(min_length)s of them"),
    "too_long": N_("There should be at most %(max_length)s of them"),
    "literal_error": N_("Input should be %(expected)s"),
    "greater_than": N_("Input should be greater than %(gt)s"),
    "greater_than_equal": N_("Input should be greater than or equal to %(ge)s"),
    "less_than_equal": N_("Input should be less than or equal to %(le)s"),
}


#: What to write instead, where the parser would show a regular expression.
_PATTERN_TEXTS: Mapping[str, str] = {
    PERIOD_PATTERN: N_("write “current”, or the day a period begins, such as 2026-11-01"),
    DAY_PATTERN: N_("write a day such as 2027-03-31"),
    MONTH_PATTERN: N_("write a month such as 2026-11"),
    KEY_PATTERN: N_("write letters, digits and signs of ASCII, without spaces"),
}


def _parser_text(detail: ErrorDetails) -> str:
    """Return what the parser says of a field, in the language of the task."""
    context = detail.get("ctx", {})
    if (wanted := _PATTERN_TEXTS.get(context.get("pattern", ""))) is not None:
        return _(wanted)
    text = _PARSER_TEXTS.get(detail["type"])
    if text is None or i18n.language() == i18n.SOURCE:
        return detail["msg"]  # its own English knows singulars
    return _(text, **context)


#: The phrases of HTTP that tornado answers with.
_PHRASES = (
    N_("Bad Request"),
    N_("Forbidden"),
    N_("Not Found"),
    N_("Method Not Allowed"),
)


def _http(error: HTTPError) -> Problem:
    try:
        phrase = HTTPStatus(error.status_code).phrase
    except ValueError:
        phrase = "Error"
    message = error.log_message or error.reason or phrase
    if message in _PHRASES:
        message = _(message)
    if error.status_code >= 500:
        # Only jupyterhub's own client raises these here: it could not ask the hub.
        log.warning("hub cannot be asked", status=error.status_code, message=message)
        return Unavailable(
            _("The hub cannot be asked who you are right now."),
            remedy=_("Try again in a moment."),
            code="hub_unavailable",
            public=True,
        )
    code = {
        400: "bad_request",
        401: "not_signed_in",
        403: "forbidden",
        404: "not_found",
        405: "method_not_allowed",
        413: "too_large",
    }.get(error.status_code, "error")
    return Problem(
        error.status_code, code, message if message.endswith((".", "。")) else f"{message}."
    )
