"""Billing's addresses: the JSON counter, then the pages."""

from django.contrib import admin
from django.urls import URLPattern, path

from . import api, callbacks, gift_api, gift_pages, pages, plan_api, plan_pages, settings_pages, shop_api, shop_pages
from .admin import earnings

API: list[URLPattern] = [
    path("api/credits/balance", api.Balance.as_view(), name="api_balance"),
    path("api/credits/entries", api.Entries.as_view(), name="api_entries"),
    path("api/credits/entries.csv", api.EntriesCSV.as_view(), name="api_entries_csv"),
    path("api/credits/entries/<uuid:id>", api.OneEntry.as_view(), name="api_entry"),
    path("api/credits/lots", api.Lots.as_view(), name="api_lots"),
    path("api/credits/limits", api.Limits.as_view(), name="api_limits"),
    path("api/credits/redeem", gift_api.Redeem.as_view(), name="api_redeem"),
    path("api/packs", shop_api.Packs.as_view(), name="api_packs"),
    path("api/plans", plan_api.Plans.as_view(), name="api_plans"),
    path("api/payments/portal", plan_api.Portal.as_view(), name="api_portal"),
    path("api/payments/plan", plan_api.MyPlan.as_view(), name="api_plan"),
    path("api/payments/plan/preview", plan_api.PreviewPlan.as_view(), name="api_plan_preview"),
    path("api/payments/plan/change", plan_api.ChangePlan.as_view(), name="api_plan_change"),
    path("api/payments/plan/cancel", plan_api.CancelPlan.as_view(), name="api_plan_cancel"),
    path("api/payments/plan/keep", plan_api.KeepPlan.as_view(), name="api_plan_keep"),
    path("api/payments/plan/resume", plan_api.ResumePlan.as_view(), name="api_plan_resume"),
    path("api/payments/plan/settle", plan_api.SettlePlan.as_view(), name="api_plan_settle"),
    path("api/payments/subscribe", plan_api.Subscribe.as_view(), name="api_subscribe"),
    path("api/payments/buy-credits", shop_api.BuyCredits.as_view(), name="api_buy_credits"),
    path("api/purchases", shop_api.Purchases.as_view(), name="api_purchases"),
    path("api/purchases/<uuid:id>", shop_api.OnePurchase.as_view(), name="api_purchase"),
    path("api/tokens", api.Tokens.as_view(), name="api_tokens"),
    path("api/tokens/<uuid:id>", api.OneToken.as_view(), name="api_token"),
    path("api/holds", api.Holds.as_view(), name="api_holds"),
    path("api/holds/<uuid:id>", api.OneHold.as_view(), name="api_hold"),
    path("api/holds/<uuid:id>/capture", api.CaptureHold.as_view(), name="api_hold_capture"),
    path("api/holds/<uuid:id>/release", api.ReleaseHold.as_view(), name="api_hold_release"),
    path("api/holds/<uuid:id>/renew", api.RenewHold.as_view(), name="api_hold_renew"),
    path("api/audit", api.AuditTrail.as_view(), name="api_audit"),
    path("api/members", api.Members.as_view(), name="api_members"),
]

WEBHOOKS: list[URLPattern] = [path("webhooks/stripe", callbacks.StripeEvents.as_view(), name="stripe_events")]

PAGES: list[URLPattern] = [
    path("account/credits", pages.account_credits, name="account_credits"),
    path("account/credits/purse", pages.purse, name="purse"),
    path("account/credits/statement", pages.account_statement, name="account_statement"),
    path("pricing", shop_pages.pricing, name="pricing"),
    path("account/credits/buy", shop_pages.buy, name="buy"),
    path("account/credits/redeem", gift_pages.redeem, name="redeem"),
    path("account/credits/purchases", shop_pages.all_purchases, name="purchases"),
    path("account/credits/purchases/<uuid:id>", shop_pages.purchase, name="purchase"),
    path("account/credits/purchases/<uuid:id>/live", shop_pages.purchase_live, name="purchase_live"),
    path("account/credits/purchases/<uuid:id>/receipt", shop_pages.purchase_receipt, name="purchase_receipt"),
    path("account/plan", plan_pages.account_plan, name="account_plan"),
    path("account/plan/live", plan_pages.plan_live, name="plan_live"),
    path("account/plan/subscribe", plan_pages.subscribe, name="plan_subscribe"),
    path("account/plan/portal", plan_pages.portal, name="plan_portal"),
    path("account/plan/paid/<uuid:id>", plan_pages.plan_receipt, name="plan_receipt"),
    path("account/plan/<slug:act>", plan_pages.plan_act, name="plan_act"),
    path("account/settings/credits", settings_pages.settings_credits, name="settings_credits"),
    path("account/settings/tokens", pages.settings_tokens, name="settings_tokens"),
    path("account/settings/tokens/<uuid:id>/revoke", pages.revoke_token, name="revoke_token"),
    path("account/choose", pages.choose_account, name="choose_account"),
    path("account/notices/<uuid:id>/seen", pages.notice_seen, name="notice_seen"),
]

STAFF: list[URLPattern] = [
    path("admin/revenue/", admin.site.admin_view(earnings.page), name="revenue"),
    path("admin/revenue.csv", admin.site.admin_view(earnings.download), name="revenue_csv"),
]

urlpatterns = API + WEBHOOKS + PAGES + STAFF
