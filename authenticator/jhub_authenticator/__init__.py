"""Authenticators that make whoever signs in a member."""

from jhub_authenticator.demo import DemoAuthenticator
from jhub_authenticator.membership import MembershipMixin, with_membership

__all__ = ["DemoAuthenticator", "MembershipMixin", "with_membership"]
