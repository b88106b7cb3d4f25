"""The trip's person, provider and clock."""

from tests.generations.conftest import catalogue, provider_calls, rehearsal_server, trip

__all__ = ["catalogue", "provider_calls", "rehearsal_server", "trip"]
