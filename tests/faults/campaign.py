"""Kills at random points, again and again: `python tests/faults/campaign.py [--rounds 12] [--seed N]`.

Each round brings up to four jobs to points of their trip (points.py), kills one victim with -9 (the worker's group, the
web server's, the embedded database, one of the database's own processes, `up` itself), lets everything come back, opens
gates and locks at once or after that, and checks every job. The last line is a JSON summary; exit 1 where a law broke.
"""

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.faults.points import FAILURE, POINTS, SUCCESS, VICTIMS, Missed, Person, Point, Wharf, wharf

AT_THE_WORKER_MAX = 3
# `up` gives up when one of its children ends five times within a minute; that is right, and not what is tried here.
PAUSE_SECONDS = 15.0


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=12)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    chance = random.Random(seed)
    killed: Counter[str] = Counter()
    broken: list[str] = []
    jobs = missed = 0
    began = time.monotonic()
    print(f"seed {seed}", flush=True)
    with wharf(people=8) as port:
        for number in range(1, options.rounds + 1):
            victim = VICTIMS[(number - 1) % len(VICTIMS)]
            wanted = points_of_a_round(chance, port, number)
            names = ", ".join(point.name for point, _, _ in wanted)
            started = time.monotonic()
            try:
                one_round(chance, port, victim, wanted)
            except Missed:  # everything went on and was checked, but nothing could be killed
                missed += 1
                print(f"{number:3}: missed: {names}", flush=True)
                continue
            except Exception:
                broken.append(f"round {number}, {victim}: {names}: {traceback.format_exc(limit=-3)}")
                print(broken[-1], "\n".join(port.instance.errors[-20:]), sep="\n", flush=True)
                if not port.instance.is_running:
                    break
            killed.update(f"{victim}: {point.name}" for point, _, _ in wanted)
            jobs += len(wanted)
            took = time.monotonic() - started
            print(f"{number:3}: {victim} killed; {names}: {took:.1f} s", flush=True)
            time.sleep(max(0.0, PAUSE_SECONDS - took))
        try:
            report = port.reconcile()
        except AssertionError as error:
            broken.append(f"reconcile: {error}")
            report = {}
    summary = {
        "seed": seed,
        "rounds": options.rounds,
        "missed": missed,
        "jobs": jobs,
        "killed": dict(sorted(killed.items())),
        "broken": broken,
        "reconcile": report,
        "seconds": round(time.monotonic() - began),
    }
    print(json.dumps(summary, ensure_ascii=False))
    return 1 if broken else 0


def points_of_a_round(chance: random.Random, port: Wharf, number: int) -> list[tuple[Point, Person, str]]:
    """Up to three points where a worker waits and, every other round, one where the web server does."""
    # No two at one gate: a worker that asks about both would wait for one while it is wanted at the other.
    gates = chance.sample(sorted({point.gate for point in POINTS if point.gate}), AT_THE_WORKER_MAX)
    points = [chance.choice([point for point in POINTS if point.gate == gate]) for gate in gates]
    if number % 2:
        points.append(POINTS[0])
    people = chance.sample(port.people, len(points))
    return [
        (point, person, SUCCESS if point.needs_success or chance.random() < 0.7 else FAILURE)
        for point, person in zip(points, people, strict=True)
    ]


def one_round(chance: random.Random, port: Wharf, victim: str, wanted: list[tuple[Point, Person, str]]) -> None:
    """The victim was killed while all of them waited; every job came to its one right end."""
    waiting = port.bring(*wanted)
    for one in waiting:
        one.opens_early = chance.random() < 0.3
    port.kill(victim, waiting)
    for one in waiting:
        port.let_go(one)
    for one in waiting:
        port.check(one)


if __name__ == "__main__":
    sys.exit(main())
