"""Every refusal of billing: a stable code, an HTTP status, a sentence for the customer, facts, and what to do next.

The sentence says what happened, `reason` why, `action` what the person can do now. `facts` stand beside them in the
answer. `can_retry` says whether the same request can succeed later without anything being changed in it.
"""

from __future__ import annotations

from typing import Any, ClassVar


class BillingError(Exception):
    """A refusal that moved nothing."""

    code: ClassVar[str] = "billing_error"
    status: ClassVar[int] = 409
    sentence: ClassVar[str] = "The credits could not be moved."
    reason: ClassVar[str] = "The books refused the change."
    action: ClassVar[str] = "Nothing was changed. Try again or ask support."
    can_retry: ClassVar[bool] = False

    def __init__(self, sentence: str | None = None, **facts: Any) -> None:
        self.message = sentence or self.sentence
        self.facts = facts
        super().__init__(self.message)


class InvalidInstruction(BillingError):
    """An amount or a word that no state of the books could accept."""

    code = "invalid_amount"
    status = 422
    sentence = "The amount is not valid."
    reason = "Amounts are positive and within the limits of one movement."
    action = "Correct the amount and send it again."


# Who may spend at all


class AccountFrozen(BillingError):
    code = "account_frozen"
    status = 403
    sentence = "This account is frozen. Nothing was started and nothing was charged."
    reason = "Staff have frozen the account."
    action = "Contact support to have it looked at."


class AccountInDebt(BillingError):
    code = "account_in_debt"
    status = 402
    sentence = "Credits are owed on this account. Nothing was started and nothing was charged."
    reason = "A payment was taken back after its credits had been spent."
    action = "Add credits: what is owed is settled first, the rest is yours to spend."


class TooManyOpenHolds(BillingError):
    code = "too_many_open_holds"
    status = 429
    sentence = "Too many runs are in progress. Nothing was started and nothing was charged."
    reason = "An account may have only so many runs waiting for their result."
    action = "Wait for one of them to end, then try again."
    can_retry = True


class TooManyJobsAtOnce(BillingError):
    code = "too_many_jobs_at_once"
    status = 429
    sentence = "Too many jobs are under way together. Nothing was started and nothing was charged."
    reason = "An account may have only so many jobs under way at once."
    action = "Wait for one of them to end, then try again."
    can_retry = True


class SpendLimitReached(BillingError):
    code = "spend_limit_reached"
    status = 403
    sentence = "A spend limit stops this. Nothing was started and nothing was charged."
    reason = "This would go over the limit set for the account."
    action = "Wait until the limit resets, or change it in the spend settings."
    can_retry = True


class InsufficientCredits(BillingError):
    code = "insufficient_credits"
    status = 402
    sentence = "Not enough credits. Nothing was started and nothing was charged."
    reason = "This costs more than the account has available."
    action = "Add credits, or choose something smaller."
    can_retry = True


class FreeCreditsNotAccepted(BillingError):
    code = "free_credits_not_accepted"
    status = 402
    sentence = "Free credits cannot pay for this yet. Nothing was started and nothing was charged."
    reason = (
        "Until your first payment, and again where it was given back, plan and promotional credits pay only for what "
        "costs nobody anything. For this, bought credits are needed."
    )
    action = "Buy any pack or plan: from then on all your credits pay for everything."


# Holds, shares and the losers of their races


class HoldNotFound(BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such hold."
    reason = "No hold of this account has that id."
    action = "Check the id."


class HoldNotOpen(BillingError):
    """The hold has ended; which end won the race is in the subclass."""

    code = "hold_not_open"
    sentence = "The hold has ended."
    reason = "A hold can be moved only while it is open."
    action = "Look at the hold to see how it ended."


class HoldAlreadyCaptured(HoldNotOpen):
    code = "hold_already_captured"
    sentence = "The hold has already been captured."


class HoldAlreadyReleased(HoldNotOpen):
    code = "hold_already_released"
    sentence = "The hold has already been released."


class HoldAlreadyExpired(HoldNotOpen):
    code = "hold_already_expired"
    sentence = "The hold has already expired; its credits were given back."


class HoldNotDue(BillingError):
    code = "hold_not_due"
    sentence = "The hold has not reached its end."
    reason = "It was renewed, or its time has not come."
    action = "Ask again after its end."
    can_retry = True


class HoldNotExpired(BillingError):
    code = "hold_not_expired"
    sentence = "The hold has not expired, so it cannot be captured late."
    reason = "Only an expired hold is captured late."
    action = "Capture it while it is open."


class HoldCapturedLate(BillingError):
    code = "hold_already_captured_late"
    sentence = "The hold has already been captured late."
    reason = "A hold is captured late at most once."
    action = "Nothing is left to do."


class CaptureExceedsHold(BillingError):
    code = "capture_exceeds_hold"
    status = 422
    sentence = "The amount is more than what is left of the hold."
    reason = "A capture never takes more than was held."
    action = "Capture at most what is left."


class ShareNotFound(BillingError):
    code = "share_not_found"
    status = 404
    sentence = "There is no such share of the hold."
    reason = "No share has that reference."
    action = "Check the reference."


class ShareNotOpen(BillingError):
    code = "share_not_open"
    sentence = "The share has already been drawn or closed."
    reason = "A share is drawn or closed once."
    action = "Look at the hold to see how it ended."


class SharesStillOpen(BillingError):
    code = "shares_still_open"
    sentence = "A share of the hold is still open."
    reason = "The hold ends only after each of its shares has ended."
    action = "Draw or close the open shares first."
    can_retry = True


class SharesExceedHold(BillingError):
    code = "shares_exceed_hold"
    status = 422
    sentence = "The shares add up to more than the hold."
    reason = "Open shares and what was drawn must fit into the hold."
    action = "Ask for smaller shares."


class NotYourHold(HoldNotFound):
    """The hold belongs to someone else's work; a stranger is told what a stranger is told."""


# Giving, giving back, taking back


class PaymentAlreadyGranted(BillingError):
    code = "payment_already_granted"
    sentence = "The credits of this payment were granted before."
    reason = "A payment is granted once."
    action = "Nothing is left to do."


class PaymentNotFound(BillingError):
    code = "payment_not_found"
    status = 404
    sentence = "No credits were granted for that payment."
    reason = "The payment is not known on this account."
    action = "Check the payment."


class EntryNotFound(BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such line on the statement."
    reason = "No line of this account has that id."
    action = "Check the id."


class NothingToRefund(BillingError):
    code = "nothing_to_refund"
    sentence = "That line did not spend credits."
    reason = "Only a charge can be refunded."
    action = "Choose the line that charged the credits."


class RefundExceedsSpent(BillingError):
    code = "refund_exceeds_spent"
    status = 409
    sentence = "That is more than is left to refund."
    reason = "A refund never gives back more than the line took."
    action = "Refund at most what is left."


class KeepsMoreThanExpired(BillingError):
    code = "keeps_more_than_expired"
    sentence = "That is more than can be kept of the payment's credits."
    reason = "Only what expired, was not kept before and was not given back is kept; of a disputed payment nothing is."
    action = "Keep at most what expired of them."


class ClawBackExceedsGrant(BillingError):
    code = "claw_back_exceeds_grant"
    sentence = "That is more than the payment granted."
    reason = "Claw-backs of a payment add up to at most its grant."
    action = "Check the refunds of the payment."


class ClawBackAlreadyMade(BillingError):
    code = "claw_back_already_made"
    sentence = "This refund was taken back before."
    reason = "A refund takes its credits back once."
    action = "Nothing is left to do."


class ClawBackNotFound(BillingError):
    code = "claw_back_not_found"
    status = 404
    sentence = "There is no such claw-back."
    reason = "Nothing was taken back under that id."
    action = "Check the id."


class AlreadyRestored(BillingError):
    code = "already_restored"
    sentence = "That claw-back was undone before."
    reason = "A claw-back is undone once."
    action = "Nothing is left to do."


class NothingToFreeze(BillingError):
    code = "nothing_to_freeze"
    sentence = "The lots of that payment are in that state already."
    reason = "Lots are frozen once and thawed once."
    action = "Nothing is left to do."


class AdjustmentExceedsAvailable(BillingError):
    code = "adjustment_exceeds_available"
    sentence = "That is more than the account has available."
    reason = "An adjustment takes only what is free."
    action = "Take at most what is available."


class ForgiveExceedsDebt(BillingError):
    code = "forgive_exceeds_debt"
    sentence = "That is more than is owed."
    reason = "Only what is owed can be forgiven."
    action = "Forgive at most what is owed."


class BalanceTooLarge(BillingError):
    code = "balance_too_large"
    status = 422
    sentence = "The balance would be larger than an account may hold."
    reason = "A balance is at most 100,000,000,000 credits."
    action = "Grant less."


class ReasonMissing(BillingError):
    code = "reason_missing"
    status = 422
    sentence = "Give a reason."
    reason = "What staff do to money is explained in writing."
    action = "Write why, in a sentence."


class ApprovalNeeded(BillingError):
    code = "approval_needed"
    status = 403
    sentence = "A second person must approve this."
    reason = "It goes over what one member of staff may do alone in a day on one account."
    action = "Ask a colleague to approve it in the admin."


# Asking twice


class IdempotencyConflict(BillingError):
    code = "idempotency_conflict"
    sentence = "This key was used before with another request."
    reason = "An idempotency key stands for one request."
    action = "Use a new key for a new request."


class RequestInProgress(BillingError):
    code = "request_in_progress"
    sentence = "The first request with this key is still going."
    reason = "Two requests with one key arrived together."
    action = "Wait a moment and send it again."
    can_retry = True


class AccountNotFound(BillingError):
    code = "not_found"
    status = 404
    sentence = "There is no such account."
    reason = "No account has that id."
    action = "Check the id."


class BillingUnavailable(BillingError):
    """The books could not be reached or did not answer in time, so nothing may run."""

    code = "billing_unavailable"
    status = 503
    sentence = "Billing cannot be reached, so nothing was started and nothing was charged."
    reason = "Nothing runs for free while the books are closed."
    action = "Try again in a moment."
    can_retry = True


class Quarantined(BillingError):
    """A group whose writing failed alone in a batch; it was set aside and staff were alerted."""

    code = "quarantined"
    status = 503
    sentence = "This movement could not be written and was set aside."
    reason = "The database refused it; staff have been told."
    action = "Staff will look at it."
