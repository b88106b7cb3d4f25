"""The runner's server: `python -m tools_registry.runner`, started by a client or by the supervisor."""

from .server import main

main()
