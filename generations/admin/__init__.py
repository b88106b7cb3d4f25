"""The staff's side of the workshop: jobs, their rules, who runs what, how it does, and the first page."""

from . import desk, jobs, providers, rules, watch

__all__ = ["desk", "jobs", "providers", "rules", "watch"]
