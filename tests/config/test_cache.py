"""The cache that all web processes share counts right under concurrency, and forgets in time."""

from concurrent.futures import ThreadPoolExecutor

import pytest
from django.core.cache import cache
from django.db import connection

pytestmark = pytest.mark.django_db(transaction=True)


def test_what_is_put_comes_back_as_it_was() -> None:
    for value in (0, -7, 2**61, "text", 1.5, True, None, [1, {"a": b"\x00"}]):
        cache.set("thing", value)
        assert cache.get("thing", "nothing") == value
        assert type(cache.get("thing")) is type(value)
    assert cache.delete("thing") is True
    assert cache.get("thing", "nothing") == "nothing"


def test_add_writes_only_what_is_not_there_or_has_expired() -> None:
    assert cache.add("once", 1) is True
    assert cache.add("once", 2) is False
    assert cache.get("once") == 1
    cache.set("once", 1, timeout=-1)
    assert cache.get("once") is None
    assert cache.add("once", 3) is True


def test_counting_what_is_not_there_or_is_no_number_is_refused() -> None:
    with pytest.raises(ValueError, match="not a number"):
        cache.incr("absent")
    cache.set("word", "seven")
    with pytest.raises(ValueError, match="not a number"):
        cache.incr("word")


def test_eight_threads_count_to_four_hundred() -> None:
    cache.add("count", 0, timeout=60)

    def fifty_times(_: int) -> None:
        for _ in range(50):
            cache.incr("count")
        connection.close()

    with ThreadPoolExecutor(8) as threads:
        list(threads.map(fifty_times, range(8)))
    assert cache.get("count") == 400


def test_of_eight_threads_exactly_one_adds() -> None:
    def add(number: int) -> bool:
        was_added = cache.add("door", number, timeout=60)
        connection.close()
        return was_added

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(add, range(8))) == [False] * 7 + [True]
