"""Authenticators that make whoever signs in a member."""

from jhub_authenticator.demo import DemoAuthenticator
from jhub_authenticator.factory import with_membership
from jhub_authenticator.membership import MembershipMixin
from jhub_authenticator.oauth import ProviderMixin
from jhub_authenticator.passwords import PasswordAuthenticator

__all__ = [
    "DemoAuthenticator",
    "MembershipMixin",
    "PasswordAuthenticator",
    "ProviderMixin",
    "with_membership",
]
