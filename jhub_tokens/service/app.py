"""The web application, assembled: one table of routes for the API, the pages and the files."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from jupyterhub.services.auth import HubOAuthCallbackHandler
from tornado.web import Application, RequestHandler, StaticFileHandler

from jhub_tokens.i18n import _
from jhub_tokens.service.compression import Compression
from jhub_tokens.service.errors import Problem
from jhub_tokens.service.handlers import (
    access_pages,
    break_glass_api,
    cluster_api,
    directory_api,
    events,
    finance_api,
    gateway_api,
    health,
    hub_api,
    money_api,
    money_pages,
    payments_api,
    people_api,
    plan_pages,
    plans_api,
    question_pages,
    questions_api,
    server_api,
    settings_api,
    settings_pages,
    ssh_keys_api,
    team_pages,
    usage_api,
    usage_pages,
    volumes_api,
)
from jhub_tokens.service.handlers import pages as member_pages
from jhub_tokens.service.handlers.admin import ADMIN_ROUTES
from jhub_tokens.service.handlers.api import PeopleHandler
from jhub_tokens.service.handlers.base import Service
from jhub_tokens.service.handlers.page import PageHandler
from jhub_tokens.service.openapi import openapi_document
from jhub_tokens.service.pages import HUB_STATIC, OUR_STATIC
from jhub_tokens.service.verifying import Verifier

__all__ = ["API_ROUTES", "PAGE_ROUTES", "make_application"]

API_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    ("api/v1/hub/overview", hub_api.OverviewHandler),
    ("api/v1/hub/offers", hub_api.OffersHandler),
    ("api/v1/hub/admissions", hub_api.AdmissionsHandler),
    ("api/v1/hub/snapshots", hub_api.SnapshotsHandler),
    ("api/v1/hub/stops", hub_api.StopsHandler),
    ("api/v1/hub/ssh-keys", ssh_keys_api.AuthorizedKeysHandler),
    ("api/v1/hub/figures", hub_api.FiguresHandler),
    ("api/v1/hub/catalogue", break_glass_api.HubCatalogueHandler),
    ("api/v1/hub/break-glass", break_glass_api.BreakGlassReportHandler),
    ("api/v1/gateway/sign-ins", gateway_api.SignInsHandler),
    ("api/v1/gateway/ways", gateway_api.WaysHandler),
    ("api/v1/break-glass", break_glass_api.BreakGlassActsHandler),
    ("api/v1/cluster", cluster_api.ClusterHandler),
    ("api/v1/directory", directory_api.DirectoryHandler),
    ("api/v1/members", people_api.MembersHandler),
    ("api/v1/members/me/settings", settings_api.SettingsHandler),
    ("api/v1/members/me/settings/email", settings_api.EmailHandler),
    ("api/v1/members/{member_id}", people_api.MemberHandler),
    ("api/v1/members/{member_id}/statement", people_api.StatementHandler),
    ("api/v1/members/{member_id}/statement.csv", usage_api.StatementCsvHandler),
    ("api/v1/members/{member_id}/usage", usage_api.UsageHandler),
    ("api/v1/members/{member_id}/usage.csv", usage_api.UsageCsvHandler),
    ("api/v1/members/{member_id}/questions", questions_api.MemberQuestionsHandler),
    ("api/v1/members/{member_id}/grants", people_api.GrantsHandler),
    ("api/v1/members/{member_id}/freeze", people_api.FreezeHandler),
    ("api/v1/members/{member_id}/unfreeze", people_api.UnfreezeHandler),
    ("api/v1/members/{member_id}/plan-changes", plans_api.PlanChangesHandler),
    ("api/v1/members/{member_id}/plan-changes/{change_id}/revocation", plans_api.RevokeHandler),
    ("api/v1/members/{member_id}/trials", plans_api.TrialHandler),
    ("api/v1/members/{member_id}/volume-snapshots", volumes_api.SnapshotsHandler),
    ("api/v1/members/{member_id}/volume-snapshots/{snapshot}/restore", volumes_api.RestoreHandler),
    ("api/v1/members/{member_id}/cancellation", plans_api.CancelHandler),
    ("api/v1/members/{member_id}/follow-rules", plans_api.FollowRulesHandler),
    ("api/v1/teams/{team}/members/{member_id}/cap", plans_api.TeamCapHandler),
    ("api/v1/members/{member_id}/vouchers", money_api.RedeemHandler),
    ("api/v1/members/{member_id}/ssh-keys", ssh_keys_api.SshKeysHandler),
    ("api/v1/members/{member_id}/ssh-keys/{key_id}/removal", ssh_keys_api.SshKeyRemovalHandler),
    ("api/v1/members/{member_id}/invoices", payments_api.InvoicesHandler),
    ("api/v1/members/{member_id}/fees", payments_api.FeesHandler),
    ("api/v1/members/{member_id}/erasure", finance_api.ErasureHandler),
    ("api/v1/finance/report", finance_api.ReportHandler),
    ("api/v1/finance/prepaid", finance_api.PrepaidHandler),
    ("api/v1/finance/trial-balance", finance_api.BalanceHandler),
    ("api/v1/finance/months", finance_api.ClosedMonthsHandler),
    ("api/v1/finance/months/{month}/close", finance_api.CloseHandler),
    ("api/v1/finance/export", finance_api.ExportHandler),
    ("api/v1/finance/erasures", finance_api.ErasuresHandler),
    ("api/v1/invoices/{invoice_id}/paid", payments_api.InvoicePaidHandler),
    ("api/v1/questions", questions_api.QuestionsHandler),
    ("api/v1/questions/{question_id}/answer", questions_api.AnswerHandler),
    ("api/v1/sessions/{session_id}/refund", money_api.RefundHandler),
    ("api/v1/server", server_api.ServerHandler),
    ("api/v1/server/keep-running", server_api.ServerKeepHandler),
    ("api/v1/server/stop", server_api.ServerStopHandler),
    ("api/v1/vouchers", money_api.VouchersHandler),
    ("api/v1/vouchers/{batch_id}/revoke", money_api.VoucherRevokeHandler),
)

PAGE_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    ("", member_pages.ConsoleHandler),
    ("events", events.EventsHandler),
    ("servers/stop", member_pages.ServerStopPage),
    ("usage", usage_pages.UsagePage),
    ("statement", member_pages.StatementPage),
    ("questions/ask", question_pages.AskPage),
    ("notices/seen", member_pages.NoticesSeenHandler),
    ("plan", plan_pages.PlanPage),
    ("plan/change", plan_pages.PlanChangePage),
    ("plan/keep", plan_pages.PlanKeepPage),
    ("plan/voucher", plan_pages.PlanVoucherPage),
    ("plan/top-up", plan_pages.TopUpPage),
    ("plan/fee", plan_pages.FeePage),
    ("plan/invoices/{invoice_id}", plan_pages.InvoicePage),
    ("teams/{team}", team_pages.TeamPage),
    ("teams/{team}/statement", team_pages.TeamStatementPage),
    ("teams/{team}/share", team_pages.TeamSharePage),
    ("teams/{team}/invite", team_pages.TeamInvitePage),
    ("teams/{team}/withdraw", team_pages.TeamWithdrawPage),
    ("teams/{team}/remove", team_pages.TeamRemovePage),
    ("invitations/answer", team_pages.InvitationAnswerPage),
    ("access", access_pages.AccessPage),
    ("access/keys/add", access_pages.KeyAddPage),
    ("access/keys/remove", access_pages.KeyRemovePage),
    ("settings", settings_pages.SettingsPage),
    ("settings/change", settings_pages.SettingsChangePage),
    ("settings/email", settings_pages.EmailPage),
    ("settings/email/remove", settings_pages.EmailRemovePage),
    ("settings/confirm", settings_pages.ConfirmEmailPage),
    ("settings/export", settings_pages.ExportPage),
    ("vouchers/redeem", money_pages.RedeemPage),
    ("admin/questions", question_pages.AdminQuestionsPage),
    ("admin/questions/{question_id}/answer", question_pages.AdminAnswerPage),
    *ADMIN_ROUTES,
)

_MACHINE_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    ("healthz", health.HealthHandler),
    ("healthz/live", health.LiveHandler),
    ("healthz/ready", health.ReadyHandler),
    ("metrics", health.MetricsHandler),
    ("api/v1/openapi.json", health.OpenApiHandler),
    ("payments/{provider}", payments_api.DeliveryHandler),
)


def make_application(service: Service) -> Application:
    """Return the application that answers everything under the service's prefix."""
    base_url = service.settings.base_url
    routes: list[Any] = []
    for path, handler in (*_MACHINE_ROUTES, *API_ROUTES, *PAGE_ROUTES):
        routes.append(
            (_pattern(base_url + path), handler, {"service": service, "route": f"/{path}"})
        )
    routes += [
        (
            re.escape(base_url) + "oauth_callback",
            CallbackHandler,
            {"service": service, "route": "/oauth_callback"},
        ),
        (re.escape(base_url) + r"static/(.*)", FileHandler, {"path": str(OUR_STATIC)}),
        (re.escape(base_url) + r"hub-static/(.*)", FileHandler, {"path": str(HUB_STATIC)}),
        (re.escape(base_url.rstrip("/")), ToPrefixHandler, {"prefix": base_url}),
        (
            re.escape(base_url) + r"api/.*",
            ApiNotFoundHandler,
            {"service": service, "route": "/api/*"},
        ),
    ]
    return Application(
        routes,
        transforms=[Compression],
        default_handler_class=member_pages.PageNotFoundHandler,
        default_handler_args={"service": service, "route": "/*"},
        cookie_secret=service.settings.cookie_secret,
        openapi_document=openapi_document(API_ROUTES, base_url),
        log_function=lambda _handler: None,  # handlers log themselves
        hub_auth=service.hub_auth,
        verifier=Verifier(),
    )


def _pattern(template: str) -> str:
    """Return the regular expression of a path template such as ``members/{member_id}``."""
    parts = re.split(r"\{\w+\}", template)
    return "([^/]+)".join(re.escape(part) for part in parts)


class CallbackHandler(HubOAuthCallbackHandler, PageHandler):  # type: ignore[misc]  # untyped
    """The end of signing in: the hub's own handler, with our errors and log line."""

    async def prepare(self) -> None:
        """Let everybody in: this is where they become known."""
        # Whoever comes back to an old address of this kind is signed in already.
        self.caller = await self.identify()


class ApiNotFoundHandler(PeopleHandler):
    """Whatever the API has not."""

    async def prepare(self) -> None:
        """Say so, to anybody and for every method."""
        raise Problem(
            404, "not_found", _("The API has no such route."), remedy=_("See openapi.json.")
        )


class ToPrefixHandler(RequestHandler):
    """Sends the prefix without its last slash to the one with it."""

    def initialize(self, prefix: str) -> None:
        """Take over the prefix."""
        self.prefix = prefix

    def get(self) -> None:
        """Redirect."""
        self.redirect(self.prefix, permanent=True)


class FileHandler(StaticFileHandler):
    """Files that change only with a release; their URLs carry a hash."""

    def set_extra_headers(self, path: str) -> None:
        """Let browsers keep what is asked for by hash."""
        self.set_header("X-Content-Type-Options", "nosniff")
        self.set_header("Content-Security-Policy", "default-src 'none'")
        if self.get_argument("v", ""):
            self.set_header("Cache-Control", "public, max-age=31536000, immutable")

    def validate_absolute_path(self, root: str, absolute_path: str) -> str | None:
        """Serve what lies in the folder only; a link that leads out of it does not count."""
        if Path(root).resolve() not in Path(absolute_path).resolve().parents:
            self.send_error(404)
            return None
        return super().validate_absolute_path(root, absolute_path)
