"""The table of all pages that people see: add a row for a new page."""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["HUB_ROWS", "PASSWORD_ROWS", "Row"]

_SERVICE = "/services/tokens/"


@dataclass(frozen=True, slots=True)
class Row:
    """A page, who looks at it, and what is known of it.

    Parameters
    ----------
    name
        What it is called in reports.
    path
        Where it is; ``{member:NAME}`` stands for a member's id.
    who
        Who looks at it; empty: nobody who is signed in.
    shows
        A selector of something that is there once the page is complete.
    image
        The name of its picture in the guides; empty: none.
    hubs_own
        A selector of a part that is the hub's alone, in English and not ours to mend.
    status
        The answer's status.
    """

    name: str
    path: str
    who: str = "grace"
    shows: str = "main, .container"
    image: str = ""
    hubs_own: str = ""
    status: int = 200


def _member(name: str, path: str, shows: str = "main", image: str = "", status: int = 200) -> Row:
    return Row(name, _SERVICE + path, "grace", shows, image, status=status)


def _admin(name: str, path: str, shows: str = "main", image: str = "") -> Row:
    return Row(name, _SERVICE + path, "admin", shows, image)


#: Pages of a hub that is `inhabited`.
HUB_ROWS = (
    Row("sign-in", "/hub/login", "", "#jt-plans", "sign-in"),
    Row("signed-out", "/hub/logout", ""),
    Row("start", "/hub/spawn/edsger/more", "edsger", "#jt-selector", "start"),
    Row("start-closed", "/hub/spawn", "ada", "#jt-selector"),
    Row("starting", "/hub/spawn-pending/slow", "slow", "#jt-pending"),
    Row("home", "/hub/home", "grace", "#jt-standing", "home"),
    Row("not-running", "/hub/user/ada/", "ada", "#start", status=424),
    Row("hub-tokens", "/hub/token", "grace", "#token-note"),
    Row("hub-error", "/hub/nothing-here", "grace", ".error", status=404),
    Row("hub-admin", "/hub/admin", "admin", "#jt-figures", "hub-admin", "#react-admin-hook"),
    _member("overview", "", image="overview"),
    _member("usage", "usage", image="usage"),
    _member("statement", "statement", "table", "statement"),
    _member("plan", "plan", image="plan"),
    _member("access", "access", image="access"),
    _member("settings", "settings", "form", "settings"),
    _member("team", "teams/vision", image="team"),
    _member("team-statement", "teams/vision/statement", "table"),
    _member("no-such-page", "nothing-here", status=404),
    _member("not-for-members", "admin", status=403),
    _admin("members", "admin", "table", "members"),
    _admin("import", "admin/members/import"),
    _admin("member", "admin/members/{member:grace}", image="member"),
    _admin("member-statement", "admin/members/{member:grace}/statement", "table"),
    _admin("as-member", "admin/members/{member:grace}/as-member"),
    _admin("questions", "admin/questions"),
    _admin("fleet", "admin/fleet", image="fleet"),
    _admin("reports", "admin/reports", image="reports"),
    _admin("catalogue", "admin/catalogue", image="catalogue"),
    _admin("vouchers", "admin/vouchers", image="vouchers"),
    _admin("audit", "admin/audit", image="audit"),
    _admin("health", "admin/health", image="health"),
)

#: Pages of a hub with the embedded passwords.
PASSWORD_ROWS = (
    Row("password-sign-in", "/hub/login", "", "#jt-plans"),
    Row("sign-up", "/hub/signup", "", "#jt-name"),
    Row("password", "/hub/password", "admin", "#jt-old"),
    Row("accounts", "/hub/accounts", "admin", "table"),
)
