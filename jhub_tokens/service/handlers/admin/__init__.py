"""Administrators' pages, and the table of their routes."""

from __future__ import annotations

from tornado.web import RequestHandler

from jhub_tokens.service.handlers.admin import (
    audit,
    bulk,
    catalogue,
    fleet,
    health,
    member,
    members,
    reports,
    vouchers,
)

__all__ = ["ADMIN_ROUTES"]

#: The words come before what may be any member's id.
ADMIN_ROUTES: tuple[tuple[str, type[RequestHandler]], ...] = (
    ("admin", members.MembersPage),
    ("admin/members.csv", members.MembersFile),
    ("admin/members/bulk", bulk.BulkPage),
    ("admin/members/bulk/confirm", bulk.BulkConfirmPage),
    ("admin/members/import", bulk.ImportPage),
    ("admin/bulk/{act_id}", bulk.BulkActPage),
    ("admin/bulk/{act_id}/continue", bulk.BulkContinuePage),
    ("admin/members/{member_id}", member.MemberPage),
    ("admin/members/{member_id}/statement", member.StatementPage),
    ("admin/members/{member_id}/as-member", member.AsMemberPage),
    ("admin/members/{member_id}/grant", member.GrantPage),
    ("admin/members/{member_id}/freeze", member.FreezePage),
    ("admin/members/{member_id}/unfreeze", member.UnfreezePage),
    ("admin/members/{member_id}/plan", member.PlanPage),
    ("admin/members/{member_id}/plan/revoke", member.PlanRevokePage),
    ("admin/members/{member_id}/plan/rules", member.FollowRulesPage),
    ("admin/members/{member_id}/refund", member.RefundPage),
    ("admin/members/{member_id}/stop", member.StopPage),
    ("admin/fleet", fleet.FleetPage),
    ("admin/fleet/stop", fleet.FleetStopPage),
    ("admin/reports", reports.ReportsPage),
    ("admin/reports/report.csv", reports.ReportFile),
    ("admin/reports/export", reports.ExportPage),
    ("admin/reports/close", reports.ClosePage),
    ("admin/catalogue", catalogue.CataloguePage),
    ("admin/vouchers", vouchers.VouchersPage),
    ("admin/vouchers/{batch_id}/revoke", vouchers.VoucherRevokePage),
    ("admin/audit", audit.AuditPage),
    ("admin/audit.csv", audit.AuditFile),
    ("admin/audit/break-glass", audit.BreakGlassPage),
    ("admin/health", health.HealthPage),
    ("admin/health/verify", health.VerifyPage),
)
