"""The cache that all processes share when there is no Redis: one unlogged table, one statement an operation.

Whole numbers are kept as numbers, so `add` and `incr` are single statements that nothing comes between: the counters
of the rate limits are right with any number of web processes. What is cached is lost in a crash, as with any cache.
"""

import pickle
import time
from typing import Any

from django.core.cache.backends.base import DEFAULT_TIMEOUT, BaseCache
from django.db import connection

CULL_EVERY = 500  # writes of one process between two removals of what has expired


class PostgresCache(BaseCache):
    """A Django cache on the default database. Costs one round trip an operation and takes no lock but its row's."""

    def __init__(self, table: str, params: dict[str, Any]) -> None:
        super().__init__(params)
        self._table = connection.ops.quote_name(table)
        self._writes = 0

    def _key(self, key: str, version: int | None) -> str:
        return self.make_and_validate_key(key, version=version)

    def _seconds(self, timeout: Any) -> float | None:
        until = self.get_backend_timeout(timeout)
        return None if until is None else until - time.time()

    @staticmethod
    def _columns(value: Any) -> tuple[int | None, bytes | None]:
        if type(value) is int and -(2**62) < value < 2**62:
            return value, None
        return None, pickle.dumps(value, protocol=pickle.HIGHEST_PROTOCOL)

    def _write(self, sql: str, parameters: list[Any]) -> list[tuple[Any, ...]]:
        with connection.cursor() as cursor:
            cursor.execute(sql, parameters)
            rows: list[tuple[Any, ...]] = cursor.fetchall()
            self._writes += 1
            if self._writes >= CULL_EVERY:
                self._writes = 0
                cursor.execute(
                    f"DELETE FROM {self._table} WHERE key IN (SELECT key FROM {self._table} "  # noqa: S608
                    "WHERE expires_at <= clock_timestamp() LIMIT 5000 FOR UPDATE SKIP LOCKED)"
                )
        return rows

    def get(self, key: str, default: Any = None, version: int | None = None) -> Any:
        return self.get_many([key], version=version).get(key, default)

    def get_many(self, keys: Any, version: int | None = None) -> dict[str, Any]:
        names = {self._key(key, version): key for key in keys}
        with connection.cursor() as cursor:
            cursor.execute(
                f"SELECT key, number, value FROM {self._table} WHERE key = ANY(%s) "  # noqa: S608
                "AND (expires_at IS NULL OR expires_at > clock_timestamp())",
                [list(names)],
            )
            rows = cursor.fetchall()
        return {names[key]: pickle.loads(value) if number is None else number for key, number, value in rows}  # noqa: S301

    def set(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> None:
        self._put(key, value, timeout, version, only_new=False)

    def add(self, key: str, value: Any, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return self._put(key, value, timeout, version, only_new=True)

    def _put(self, key: str, value: Any, timeout: Any, version: int | None, *, only_new: bool) -> bool:
        number, dumped = self._columns(value)
        rows = self._write(
            f"INSERT INTO {self._table} AS c (key, number, value, expires_at) "  # noqa: S608
            "VALUES (%s, %s, %s, clock_timestamp() + make_interval(secs => %s)) "
            "ON CONFLICT (key) DO UPDATE SET number = EXCLUDED.number, value = EXCLUDED.value, "
            "expires_at = EXCLUDED.expires_at "
            + ("WHERE c.expires_at <= clock_timestamp() " if only_new else "")
            + "RETURNING true",
            [self._key(key, version), number, dumped, self._seconds(timeout)],
        )
        return bool(rows)

    def incr(self, key: str, delta: int = 1, version: int | None = None) -> int:
        rows = self._write(
            f"UPDATE {self._table} SET number = number + %s WHERE key = %s AND number IS NOT NULL "  # noqa: S608
            "AND (expires_at IS NULL OR expires_at > clock_timestamp()) RETURNING number",
            [delta, self._key(key, version)],
        )
        if not rows:
            raise ValueError(f"Key {key!r} is not a number in the cache.")
        return int(rows[0][0])

    def touch(self, key: str, timeout: Any = DEFAULT_TIMEOUT, version: int | None = None) -> bool:
        return bool(
            self._write(
                f"UPDATE {self._table} SET expires_at = clock_timestamp() + make_interval(secs => %s) "  # noqa: S608
                "WHERE key = %s AND (expires_at IS NULL OR expires_at > clock_timestamp()) RETURNING true",
                [self._seconds(timeout), self._key(key, version)],
            )
        )

    def delete(self, key: str, version: int | None = None) -> bool:
        return bool(
            self._write(f"DELETE FROM {self._table} WHERE key = %s RETURNING true", [self._key(key, version)])  # noqa: S608
        )

    def clear(self) -> None:
        with connection.cursor() as cursor:
            cursor.execute(f"DELETE FROM {self._table}")  # noqa: S608
