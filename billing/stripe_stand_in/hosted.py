"""The pages that Stripe would host. They work without JavaScript, and say on each that no money moves."""

from __future__ import annotations

import base64
import hashlib
from datetime import UTC, datetime
from html import escape
from urllib.parse import urlsplit

from . import acts, renewals
from .book import Book, Thing
from .refusals import wrong

SIGNS = {"gbp": "£", "usd": "$", "eur": "€"}
STYLE = """
:root{color-scheme:light dark;--paper:light-dark(#f6f4ee,#0d171c);--card:light-dark(#fffdf8,#132128);
--line:light-dark(#e2ddd0,#22353e);--ink:light-dark(#14232b,#edf2f0);--ink-2:light-dark(#4a5a62,#b2c0c4);
--sea:light-dark(#0c6a66,#3fb8ae);--sea-ink:light-dark(#fff,#06201e);--field:light-dark(#8f8a7b,#5f7d89);
--brass:light-dark(#f7e8cb,#3a2d14);--brass-ink:light-dark(#7a4a06,#f0c477);
--bad:light-dark(#f8dfda,#42201c);--bad-ink:light-dark(#96291f,#f6a69b)}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;background:var(--paper);color:var(--ink);
font:16px/1.5
"Inter Variable",Inter,system-ui,-apple-system,"Segoe UI",sans-serif}
.note{background:var(--brass);color:var(--brass-ink);padding:10px 20px;text-align:center;font-weight:600;font-size:15px}
main{width:min(480px,100%);margin:0 auto;padding:32px 20px 48px}
.card{background:var(--card);border:1px solid var(--line);border-radius:16px;padding:24px}
.card+.card{margin-top:16px}
.seller{margin:0 0 4px;color:var(--ink-2);font-size:15px}
h1{margin:0;font-size:20px;line-height:1.3;font-weight:600;overflow-wrap:anywhere}
h2{margin:0 0 8px;font-size:17px}
.sum{margin:8px 0 0;
font-size:42px;line-height:1.1;font-weight:640;letter-spacing:-.03em;font-variant-numeric:tabular-nums}
.sum small{font-size:16px;font-weight:450;letter-spacing:0;color:var(--ink-2)}
.lines{margin:20px 0;padding:0;list-style:none;border-top:1px solid var(--line)}
.lines li{display:flex;justify-content:space-between;gap:16px;padding:12px 0;border-bottom:1px solid var(--line)}
.lines li span:first-child{overflow-wrap:anywhere;min-width:0}
.lines li span:last-child{white-space:nowrap;font-variant-numeric:tabular-nums}
.lines small{display:block;color:var(--ink-2)}
.bad{margin:0 0 16px;padding:12px 16px;border-radius:10px;background:var(--bad);color:var(--bad-ink)}
form+.button{margin-top:10px}.card+p{margin-top:16px}
p{margin:0 0 12px}.quiet{color:var(--ink-2);font-size:14px}
form{display:grid;gap:10px;margin:0}
button,.button{display:block;width:100%;min-height:48px;padding:11px 18px;border-radius:10px;font:inherit;
font-weight:600;text-align:center;text-decoration:none;cursor:pointer;border:1px solid var(--field);
background:transparent;color:var(--ink)}
.go{background:var(--sea);border-color:var(--sea);color:var(--sea-ink)}
.quiet-button{border-color:transparent;color:var(--ink-2);font-weight:500}
button:focus-visible,a:focus-visible{outline:3px solid var(--sea);outline-offset:2px}
a{color:var(--sea)}
details{margin-top:14px}summary{cursor:pointer;color:var(--ink-2);font-size:14px}details form{margin-top:12px}
""".strip()
STYLE_HASH = base64.b64encode(hashlib.sha256(STYLE.encode()).digest()).decode()


def money(minor: int, currency: str) -> str:
    sign = SIGNS.get(currency, currency.upper() + " ")
    return f"{'−' if minor < 0 else ''}{sign}{abs(minor) // 100:,}.{abs(minor) % 100:02}"


def day(moment: int) -> str:
    at = datetime.fromtimestamp(moment, UTC)
    return f"{at.day} {at:%B %Y}"


def document(title: str, body: str) -> bytes:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1"><meta name="robots" content="noindex">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>"
        '<div class="note" role="note">Rehearsal checkout: no money moves</div>'
        f"<main>{body}</main></body></html>"
    ).encode()


def headers(*targets: str | None) -> dict[str, str]:
    """What keeps the page to itself; it may send the person on to these addresses."""
    origins = sorted({f"{url.scheme}://{url.netloc}" for one in targets if one for url in [urlsplit(one)]})
    goes_to = " ".join(["'self'", *origins])
    policy = (
        f"default-src 'none'; style-src 'sha256-{STYLE_HASH}'; base-uri 'none'; frame-ancestors 'none'; "
        f"form-action {goes_to}"
    )
    return {
        "Content-Type": "text/html; charset=utf-8", "Content-Security-Policy": policy, "Cache-Control": "no-store",
        "X-Content-Type-Options": "nosniff", "Referrer-Policy": "no-referrer",
    }  # fmt: skip


def lines_of(rows: list[tuple[str, str, str]]) -> str:
    """Name, small print and sum of each line."""
    each = (
        f"<li><span>{escape(name)}{f'<small>{escape(small)}</small>' if small else ''}</span>"
        f"<span>{escape(total)}</span></li>"
        for name, small, total in rows
    )
    return f'<ul class="lines">{"".join(each)}</ul>'


def button(act: str, label: str, look: str = "") -> str:
    return f'<button name="act" value="{act}" class="{look}">{escape(label)}</button>'


# Checkout ------------------------------------------------------------------------------------------------------------


def checkout(book: Book, session: Thing, trouble: str = "") -> bytes:
    """The page of a Checkout Session; one that has ended says so."""
    intent = book.find(session["payment_intent"])
    if session["status"] == "complete" and intent and intent["status"] == "processing":
        choices = button("arrives", "Let it arrive", "go") + button("fails", "Let it fail")
        form = f'<form method="post" action="/checkout/{session["id"]}">{choices}</form>'
        return ended(session, "The bank debit is on its way", "It has not been paid yet.", form)
    if session["status"] == "complete":
        return ended(session, "This checkout is complete", "There is nothing left to do here.")
    if session["status"] == "expired":
        return ended(session, "This checkout has expired", "Go back and start again.")
    items, currency = session["_items"], session["currency"] or "gbp"
    rows = []
    for one in items:
        quantity = f"{one['quantity']} × {money(one['price']['unit_amount'], currency)}" if one["quantity"] > 1 else ""
        rows.append((one["description"] or "", quantity, money(one["amount_total"], currency)))
    title, label, sum_ = "Save a card", "Save the card", ""
    if session["mode"] != "setup":
        title = items[0]["description"] if len(items) == 1 else "Your order"
        label = f"Pay {money(session['amount_total'], currency)}"
        sum_ = f'<p class="sum">{money(session["amount_total"], currency)}{_every(session)}</p>'
    trial = (session.get("_subscription_data") or {}).get("trial_period_days")
    if trial:
        label = f"Start {trial} days free"
    warning = f'<p class="bad" role="alert">{escape(trouble)}</p>' if trouble else ""
    cancel = button("cancel", "Cancel and go back", "quiet-button") if session["cancel_url"] else ""
    body = (
        f'<div class="card"><p class="seller">Holdfast</p><h1>{escape(title or "")}</h1>{sum_}'
        f"{lines_of(rows) if rows else ''}{warning}"
        f'<form method="post" action="/checkout/{session["id"]}">{button("pay", label, "go")}'
        f"{button('decline', 'Decline: try a card that fails')}{cancel}</form>"
        f"{_other_endings(session)}</div>"
        '<p class="quiet">No card is asked for and none is charged: this page stands in for Stripe.</p>'
    )
    return document(f"{title} · rehearsal checkout", body)


def _other_endings(session: Thing) -> str:
    keeps_card = session["mode"] != "payment" or (session["_payment_intent_data"] or {}).get("setup_future_usage")
    later = button("failing_later", "Pay, with a card that fails the next time") if keeps_card else ""
    if keeps_card and session["customer"]:
        later += button("asking_later", "Pay, with a card whose bank asks the next time")
    slow = button("slow", "Pay by bank debit: it arrives later") if session["mode"] == "payment" else ""
    form = f'<form method="post" action="/checkout/{session["id"]}">{slow}{later}</form>'
    return f"<details><summary>Other endings to rehearse</summary>{form}</details>" if slow or later else ""


def _every(session: Thing) -> str:
    recurring = session["_items"][0]["price"]["recurring"]
    if not recurring:
        return ""
    count, unit = recurring["interval_count"], recurring["interval"]
    return f" <small>a {unit}</small>" if count == 1 else f" <small>every {count} {unit}s</small>"


def ended(session: Thing, title: str, sentence: str, more: str = "") -> bytes:
    target = success_url(session) if session["status"] == "complete" else session["cancel_url"]
    link = f'<a class="button" href="{escape(target)}">Back to Holdfast</a>' if target else ""
    return document(title, f'<div class="card"><h1>{title}</h1><p>{sentence}</p>{more}{link}</div>')


def success_url(session: Thing) -> str:
    return str(session["success_url"]).replace("{CHECKOUT_SESSION_ID}", session["id"])


ENDINGS = {"pay": "works", "decline": "declines", "slow": "slow", "failing_later": "works", "asking_later": "works"}
LATER = {"failing_later": "0341", "asking_later": acts.NEEDS_ACTION}


def press(book: Book, session: Thing, act: str) -> tuple[str, str]:
    """What a button did: where the person goes next, or what the page tells them."""
    if act == "cancel" and session["cancel_url"]:
        return str(session["cancel_url"]), ""
    if session["payment_status"] == "unpaid" and act in ("arrives", "fails") and session["payment_intent"]:
        intent = book.get("payment_intent", session["payment_intent"])
        if intent["status"] == "processing":
            renewals.conclude(book, intent, is_paid=act == "arrives")
        return success_url(session), ""
    if session["status"] != "open":
        return "", ""
    if act not in ENDINGS:
        raise wrong("There is no such button.")
    outcome = renewals.pay_session(book, session, acts.CARDS[ENDINGS[act]])
    if outcome == "complete":
        if act in LATER and session["customer"]:
            acts.give_card(book, session["customer"], LATER[act])
        return success_url(session), ""
    return "", "The card was declined. Nothing was paid; you can try again."


# The bank's own page --------------------------------------------------------------------------------------------------


def authenticate(intent: Thing) -> bytes:
    """Where the cardholder confirms a payment, as at a bank."""
    sum_ = money(intent["amount"], intent["currency"])
    back = intent.get("_return_url")
    if intent["status"] != "requires_action":
        link = f'<a class="button" href="{escape(back)}">Back to Holdfast</a>' if back else ""
        return document("Your bank", f'<div class="card"><h1>There is nothing to confirm here</h1>{link}</div>')
    body = (
        f'<div class="card"><p class="seller">Your bank</p><h1>Confirm this payment to Holdfast</h1>'
        f'<p class="sum">{sum_}</p><form method="post" action="/authenticate/{intent["id"]}">'
        f"{button('confirm', f'Confirm {sum_}', 'go')}{button('refuse', 'This was not me')}</form></div>"
        '<p class="quiet">No bank is asked and no card is charged: this page stands in for it.</p>'
    )
    return document("Your bank · rehearsal", body)


def press_authenticate(book: Book, intent: Thing, act: str) -> None:
    """What a button of the bank's page did."""
    if act not in ("confirm", "refuse"):
        raise wrong("There is no such button.")
    if intent["status"] == "requires_action":
        renewals.conclude(book, intent, is_paid=act == "confirm")


# The portal ----------------------------------------------------------------------------------------------------------


def portal(book: Book, session: Thing) -> bytes:
    """What a customer may do: the card, the subscriptions, the receipts; as the portal was arranged."""
    features = book.get("billing_portal.configuration", session["configuration"])["features"]
    customer = book.get("customer", session["customer"])
    whose = escape(customer["email"] or "you")
    action = f'<form method="post" action="/portal/{session["id"]}">'
    parts = [f'<div class="card"><p class="seller">Holdfast</p><h1>Billing of {whose}</h1></div>']
    ours = [one for one in book.each("subscription") if one["customer"] == customer["id"]]
    for one in ours:
        if one["status"] not in renewals.ENDED:
            choices = _choices(one, features) + _later(one)
            parts.append(f'<div class="card">{_subscription(book, one)}{action}{choices}</form></div>')
    if features["payment_method_update"]["enabled"]:
        card = acts.default_method(book, customer["id"], *(one["default_payment_method"] for one in ours))
        name = f"Card ending in {acts.last4_of(card)}" if card else "No card yet"
        parts.append(
            f'<div class="card"><h2>Payment method</h2><p>{name}</p>{action}'
            f"{button('card_works', 'Use a card that works')}"
            f"{button('card_fails', 'Use a card that fails')}</form></div>"
        )
    if features["invoice_history"]["enabled"]:
        found = book.where("invoice", lambda one: one["customer"] == customer["id"] and one["status"] != "draft")
        links = "".join(
            f'<li><span><a href="/invoices/{one["id"]}">{escape(one["number"] or "")}</a>'
            f"<small>{day(one['created'])}, {escape(one['status'])}</small></span>"
            f"<span>{money(one['total'], one['currency'])}</span></li>"
            for one in found[:24]
        )
        links = links or "<li>None yet</li>"
        parts.append(f'<div class="card"><h2>Invoices</h2><ul class="lines">{links}</ul></div>')
    if session["return_url"]:
        parts.append(f'<p><a class="button" href="{escape(session["return_url"])}">Back to Holdfast</a></p>')
    return document("Billing · rehearsal portal", "".join(parts))


def _subscription(book: Book, one: Thing) -> str:
    item = renewals.item_of(one)
    price, product = item["price"], book.find(item["price"]["product"]) or {}
    ends = day(item["current_period_end"])
    what = f"Ends on {ends}" if one["cancel_at_period_end"] else f"Renews on {ends}"
    if one["status"] == "trialing":
        what = f"Trial until {ends}"
    return (
        f"<h2>{escape(product.get('name', ''))}</h2>"
        f"<p>{money(price['unit_amount'], price['currency'])} a {price['recurring']['interval']}"
        f'<br><span class="quiet">{what} · {escape(one["status"].replace("_", " "))}</span></p>'
    )


def _choices(one: Thing, features: Thing) -> str:
    if not features["subscription_cancel"]["enabled"]:
        return ""
    if one["cancel_at_period_end"]:
        return button(f"keep:{one['id']}", "Don’t cancel", "go")
    return button(f"cancel:{one['id']}", "Cancel the plan")


def _later(one: Thing) -> str:
    """What no portal of Stripe's has: time can be let pass."""
    return button(f"later:{one['id']}", "Rehearse: let time pass until then", "quiet-button")


def press_portal(book: Book, session: Thing, act: str) -> None:
    """What a button of the portal did."""
    features = book.get("billing_portal.configuration", session["configuration"])["features"]
    if act in ("card_works", "card_fails") and features["payment_method_update"]["enabled"]:
        acts.give_card(book, session["customer"], "4242" if act == "card_works" else "0341")
        return
    what, _, name = act.partition(":")
    subscription = book.get("subscription", name)
    if what == "later" and subscription["customer"] == session["customer"]:
        renewals.advance(book, renewals.item_of(subscription)["current_period_end"] + 1)
        return
    is_allowed = features["subscription_cancel"]["enabled"] and subscription["customer"] == session["customer"]
    if not is_allowed or what not in ("cancel", "keep"):
        raise wrong("There is no such button.")
    if what == "cancel" and features["subscription_cancel"]["mode"] == "immediately":
        renewals.end(book, subscription)
    else:
        renewals.change(book, subscription, {"cancel_at_period_end": what == "cancel"})


# Receipts ------------------------------------------------------------------------------------------------------------


def invoice(thing: Thing) -> bytes:
    """The receipt, or what is still owed."""
    currency, is_paid = thing["currency"], thing["status"] == "paid"
    rows = []
    for one in thing["lines"]["data"]:
        start, end = one["period"]["start"], one["period"]["end"]
        rows.append(
            (
                one["description"] or "",
                f"{day(start)} to {day(end)}" if end > start else "",
                money(one["amount"], currency),
            )
        )
    rows.append(("Total", "", money(thing["total"], currency)))
    title = f"{'Receipt' if is_paid else 'Invoice'} {thing['number'] or '(draft)'}"
    at = thing["status_transitions"]["paid_at"] or thing["created"]
    body = (
        f'<div class="card"><p class="seller">Holdfast</p><h1>{escape(title)}</h1>'
        f'<p class="sum">{money(thing["amount_paid"] if is_paid else thing["amount_due"], currency)}</p>'
        f'<p class="quiet">{"Paid" if is_paid else escape(str(thing["status"]).capitalize())} · {day(at)}'
        f"{' · ' + escape(thing['customer_email']) if thing['customer_email'] else ''}</p>{lines_of(rows)}</div>"
    )
    return document(title, body)


def charge(thing: Thing) -> bytes:
    """The receipt of one charge."""
    rows = [(thing["description"] or "Payment", day(thing["created"]), money(thing["amount"], thing["currency"]))]
    if thing["amount_refunded"]:
        rows.append(("Refunded", "", money(-thing["amount_refunded"], thing["currency"])))
    kept = money(thing["amount"] - thing["amount_refunded"], thing["currency"])
    body = (
        '<div class="card"><p class="seller">Holdfast</p><h1>Receipt</h1>'
        f'<p class="sum">{kept}</p>{lines_of(rows)}</div>'
    )
    return document("Receipt", body)
