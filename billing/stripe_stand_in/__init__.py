"""A small Stripe over real HTTP: `python -m billing.stripe_stand_in --port N --state FILE --webhook-url URL …`.

It takes the official SDK's requests at the pinned API version, keeps what they made in one SQLite file, shows hosted
pages on which no money moves, and delivers signed events. Without Django. Tests and the rehearsal checkout use it.

    forms.py       what a request's parameters may be
    book.py        what exists, the clock, the events and who still has to hear of them
    shapes.py      what each object looks like
    acts.py        what happens to objects, and which events tell of it
    renewals.py    subscriptions, and the clock
    returns.py     refunds and disputes
    endpoints.py   the API: which path does which act
    hosted.py      the pages: checkout, receipt, portal
    deliveries.py  sends events to the webhook, again until it answers
    server.py      HTTP, keys, idempotency, the controls of tests (`/_control/…`)
"""
