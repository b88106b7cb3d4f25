"""dj-stripe's mirror takes what the small Stripe says, so its objects have the shapes that dj-stripe knows."""

from typing import Any

import djstripe.models
import pytest
import stripe

from .conftest import Sink, StandIn
from .test_stand_in import Plan

pytestmark = pytest.mark.django_db


def test_a_subscription_and_all_it_names_are_mirrored(
    stripe_client: stripe.StripeClient, stand_in: StandIn, sink: Sink, stripe_settings: Any, monkeypatch: Any
) -> None:
    monkeypatch.setattr(stripe, "api_base", stand_in.url)
    stripe_settings.STRIPE_TEST_SECRET_KEY = stripe_settings.STRIPE_SECRET_KEY
    plan = Plan(stripe_client, stand_in, sink)
    found = stripe_client.v1.subscriptions.retrieve(plan.id)
    mirrored = djstripe.models.Subscription.sync_from_stripe_data(found, api_key=stripe_settings.STRIPE_SECRET_KEY)
    assert mirrored.customer.id == plan.customer
    invoice = stripe_client.v1.invoices.retrieve(str(found.latest_invoice))
    mirrored = djstripe.models.Invoice.sync_from_stripe_data(invoice, api_key=stripe_settings.STRIPE_SECRET_KEY)
    assert (mirrored.customer.id, mirrored.status) == (plan.customer, "paid")
