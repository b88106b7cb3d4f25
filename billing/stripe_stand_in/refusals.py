"""What the API answers when it does not do what was asked, in Stripe's own shape."""

from typing import Any


class Refused(Exception):
    """An error answer. One that `is_kept` stands for what was done all the same: a card that was tried and declined."""

    def __init__(self, status: int, kind: str, message: str, *, is_kept: bool = False, **more: Any) -> None:
        super().__init__(message)
        self.status, self.is_kept = status, is_kept
        self.body = {"error": {"message": message, "type": kind} | {name: it for name, it in more.items() if it}}


def wrong(message: str, param: str | None = None, code: str | None = None) -> Refused:
    """A parameter that cannot be taken."""
    return Refused(400, "invalid_request_error", message, param=param, code=code)


def missing(kind: str, name: str, param: str = "id", status: int = 404) -> Refused:
    """There is no such object."""
    return Refused(status, "invalid_request_error", f"No such {kind}: '{name}'", param=param, code="resource_missing")
