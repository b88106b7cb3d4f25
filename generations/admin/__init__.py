"""The staff's side of the workshop: jobs, the rules that settle them, and the first page."""

from . import desk, jobs, providers, rules

__all__ = ["desk", "jobs", "providers", "rules"]
