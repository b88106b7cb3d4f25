"""Runs a tool's function in a limited child process: `run(path, inputs, files, limits)` says what came of it.

    client.py       in our processes: hands a run over, waits, reads the answer
    server.py       a process of its own that knows nothing of ours: has the libraries loaded, forks a child for each
                    run, ends it at its limits, says what the kernel says it used
    child.py        in the child: limits itself, calls the function, answers
    confinement.py  what the child gives up; seccomp.py and landlock.py are its two longest chapters

Server and child never see our environment, our database, or a secret: the server is a fresh program, started with an
empty environment. It sees no run's contents either: inputs and answers travel in pieces of memory that only the client
and that run's child have, so no child inherits what another one was given.
"""

from .client import Ran, Runner, command, door, environment, join, run
from .confinement import Protections, protections

__all__ = ["Protections", "Ran", "Runner", "command", "door", "environment", "join", "protections", "run"]
