"""How money comes: a port that payment providers fit, and who fits it.

A provider makes checkout links and turns what it tells into the ledger's facts; it books nothing
itself. `manual` is an invoice that an administrator marks as paid, `stripe` is Stripe.
"""

from jhub_tokens.payments.manual import ManualProvider
from jhub_tokens.payments.port import Checkout, PaymentProblem, PaymentProvider, WebhookRefused

__all__ = ["Checkout", "ManualProvider", "PaymentProblem", "PaymentProvider", "WebhookRefused"]
