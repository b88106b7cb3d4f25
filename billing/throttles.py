"""How many requests are taken in a minute, counted in the shared cache before anything else is done.

Reads have a bucket of their own. A repeat of a request that was answered before costs nothing.
"""

from __future__ import annotations

import time
from abc import ABC, abstractmethod
from contextlib import suppress
from typing import Any

from django.conf import settings
from django.core.cache import cache
from rest_framework.throttling import BaseThrottle

from . import counters, people, refusals
from .models import IdempotencyKey

SECONDS = 60
SAFE = ("GET", "HEAD", "OPTIONS")


class _Bucket(BaseThrottle, ABC):
    """So many requests a minute for each token, person, or (nobody signed in) address. Costs one cache operation."""

    kind = ""

    def allow_request(self, request: Any, view: Any) -> bool:
        if not self.counts(request):
            return True
        most = self.most(request)
        self.key = f"requests:{self.kind}:{self.who(request)}:{int(time.time() // SECONDS)}"
        taken = counters.add_one(self.key, SECONDS * 2)
        request._bucket = self.key
        if taken <= most:
            return True
        if self.kind == "write" and is_repeat(request):
            give_back(request)
            return True
        return False

    @abstractmethod
    def counts(self, request: Any) -> bool:
        """Whether the request is of the kind that is counted here."""

    @abstractmethod
    def most(self, request: Any) -> int:
        """How many of these a minute."""

    def who(self, request: Any) -> str:
        token = people.token_of(request)
        if token is not None:
            return f"token:{token.id}"
        if request.user.is_authenticated:
            return f"user:{request.user.pk}"
        return f"address:{self.get_ident(request)}"

    def wait(self) -> float:
        return SECONDS - time.time() % SECONDS


class ReadThrottle(_Bucket):
    kind = "read"

    def counts(self, request: Any) -> bool:
        return request.method in SAFE

    def most(self, request: Any) -> int:
        return settings.API_READS_PER_MINUTE if request.user.is_authenticated else settings.API_ANONYMOUS_PER_MINUTE


class WriteThrottle(_Bucket):
    kind = "write"

    def counts(self, request: Any) -> bool:
        return request.method not in SAFE

    def most(self, request: Any) -> int:
        return settings.API_WRITES_PER_MINUTE if request.user.is_authenticated else settings.API_ANONYMOUS_PER_MINUTE


def count_write(request: Any) -> None:
    """A page's post that costs is one of its person's writes. Raises TooManyRequests."""
    bucket = WriteThrottle()
    if not bucket.allow_request(request, None):
        raise refusals.TooManyRequests(retry_after_seconds=max(1, round(bucket.wait())))


def give_back(request: Any) -> None:
    """The request has cost nothing."""
    key = getattr(request, "_bucket", None)
    if key is not None:
        request._bucket = None
        with suppress(ValueError):  # its minute is over
            cache.decr(key)


def is_repeat(request: Any) -> bool:
    """Says whether the request's key was answered before. A read, and none where there is no key."""
    key = request.headers.get("Idempotency-Key")
    if not key or not request.user.is_authenticated:
        return False
    scope = f"{request.method} {request.path}"
    mine = IdempotencyKey.objects.filter(actor=people.owner_of(request), scope=scope, key=key)
    return mine.filter(account=people.account_of(request)).exists()


# Guesses: what was wrong is counted beside the requests


class TooManyGuesses(refusals.TooManyRequests):
    sentence = "Too many wrong codes. This one was not looked at."
    reason = "Only a few may be wrong in a minute."
    action = "Wait a minute, then type the code with care."


def begin_guess(request: Any, kind: str, most: int) -> list[str]:
    """The guess is counted for the account and for the address, before it is looked at; the counters' names.

    Raises TooManyGuesses with the seconds to wait where one of them has had its `most` wrong guesses this minute.
    """
    whos = (f"account:{people.account_of(request)}", f"address:{BaseThrottle().get_ident(request)}")
    minute = int(time.time() // SECONDS)
    keys = [f"guesses:{kind}:{who}:{minute}" for who in whos]
    if max([counters.add_one(key, SECONDS * 2) for key in keys]) > most:
        right_guess(keys)
        raise TooManyGuesses(retry_after_seconds=max(1, round(SECONDS - time.time() % SECONDS)))
    return keys


def right_guess(keys: list[str]) -> None:
    """The guess was none after all and has cost nothing."""
    for key in keys:
        with suppress(ValueError):  # its minute is over
            cache.decr(key)
