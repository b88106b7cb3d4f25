"""Kills `up` with -9 at random moments and starts it again at once: `python tests/faults/kill_up.py [--times 10]`.

Each time it must be ready, on the same data folder, from a path of 150 characters; at the end no process may be left.
Moments before the first `ready` count too: a first start that is cut off goes on where it was.
"""

import argparse
import random
import sys
import tempfile
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.instance import Instance


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--times", type=int, default=10)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    print(f"seed {seed}")
    with tempfile.TemporaryDirectory(prefix="holdfast-kill-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        instance = Instance(folder / ("x" * (149 - len(name))))
        for number in range(1, options.times + 1):
            # Half of the kills fall into the start, half into the running instance.
            instance.start()
            if number % 2:
                moment = chance.uniform(0.1, 4.0)
            else:
                instance.ready()
                moment = chance.uniform(0.0, 3.0)
            time.sleep(moment)
            instance.kill()
            began = time.monotonic()
            instance.start().ready()
            took = time.monotonic() - began
            when = "its start" if number % 2 else "`ready`"
            print(f"{number:3}: killed {moment:.2f} s after {when}, ready again {took:.1f} s later", flush=True)
            instance.kill()
            instance.nothing_left(3)
        instance.start().ready()
        assert instance.command("migrate", "--check").returncode == 0
        assert instance.stop() == 0
        instance.nothing_left(1)
    print("ready each time, no process left")


if __name__ == "__main__":
    main()
