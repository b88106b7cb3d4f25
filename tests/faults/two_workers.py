"""Two workers under fire: `python tests/faults/two_workers.py [--seconds 120] [--jobs 500] [--seed N]`.

Jobs whose prompts ask their provider for every kind of trouble are posted over HTTP, many of them twice, some are
cancelled. Meanwhile the workers are killed with -9 in turn, wholly or one of their processes, tasks are queued again,
and jobs are woken as by callbacks that are sent again. Then there is quiet, and everything must have come to its end:
each job settled once or in a state that says what is not known, accepted by its provider at most once, and the books
reconciled.

The last line is a JSON summary; exit 1 where a law broke.
"""

import argparse
import contextlib
import json
import os
import random
import re
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import Future
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))
from tests.faults.points import SHORT, Person, Wharf, wharf
from tests.instance import ROOT, until

PEOPLE = 20  # nobody comes to the open holds that one account may have, nor to the end of their credits
POSTING_PART = 0.7  # of the time, in which all jobs are posted
TWICE, AGAIN, CANCELLED = 0.2, 0.15, 0.05
# `up` gives up when its worker ends five times within a minute.
FIRST_KILLS_A_MINUTE = 2
# So long nothing more ends before the workers are put to rest; later ones boot again in between.
FIRST_STILL_SECONDS, STILL_SECONDS = 8.0, 25.0
RESTS_MAX = 5
# The longest that a dead worker may have claimed anything for: an output to be fetched.
LEASE_SECONDS_MAX = 200

# What a prompt asks for, how often it does, and how such a job ends. Where it is not to end, it says honestly where it
# stands: its credits are held, and its provider is asked, or staff are.
CHARGED, REFUNDED = ("succeeded", "charged"), ("failed", "refunded")
ENDS: dict[str, tuple[int, tuple[str, str] | None]] = {
    "": (30, CHARGED),
    "[slow 6s]": (6, CHARGED),
    "[late 5s]": (5, CHARGED),
    "[timeout_after_accept]": (6, CHARGED),
    "[submit 429]": (5, CHARGED),
    "[poll 503]": (8, CHARGED),
    "[poll 429]": (5, CHARGED),
    "[poll 404]": (3, CHARGED),
    "[garbage]": (6, CHARGED),
    "[flip]": (3, CHARGED),
    "[moderation_blocked]": (8, REFUNDED),
    "[failed model_overloaded]": (5, REFUNDED),
    "[poll 500] [invalid_request]": (3, REFUNDED),
    "[no_output]": (4, REFUNDED),
    "[submit 422]": (5, REFUNDED),
    "[submit 503]": (2, None),
    "[unknown_word]": (2, None),
    "[silent]": (3, None),
}
# Whoever heard its first word may have been killed with it.
EITHER = ("[flip]",)
NEVER_ACCEPTED = ("[submit 422]", "[submit 503]")
HONEST = {"queued", "submitting", "running"}

# A provider must never be called while a transaction is open: calls.py refuses it, and says so.
IN_TRANSACTION = re.compile("InTransaction|while a transaction was open")
EVENT = re.compile(r"\[(warning|error|critical)\s*\]\s+(\w+)")

MEDDLER = """
import random, time
from django_q.tasks import async_task
from generations import lifecycle
from generations.models import Generation
chance = random.Random(%(seed)d)
while True:
    jobs = list(Generation.objects.order_by("-id").values_list("id", "provider", "provider_job_id")[:400])
    for job, provider, name in chance.sample(jobs, min(len(jobs), 2)):
        if name is None or chance.random() < 0.5:
            for _ in range(chance.choice((1, 2, 3))):
                async_task("generations.tasks.follow", str(job))
        else:
            for _ in range(3):
                lifecycle.wake(provider, name)
    print(len(jobs), flush=True)
    time.sleep(0.4)
"""


FAILED_TASKS = """
import json
from django_q.models import Task
print(json.dumps([f"{task.func}: {task.result}" for task in Task.objects.filter(success=False)]))
"""


@dataclass
class Posted:
    person: Person
    word: str
    key: str = field(default_factory=lambda: uuid.uuid4().hex)
    answers: list[tuple[int, Any]] = field(default_factory=list)
    cancels: list[tuple[int, Any]] = field(default_factory=list)

    @property
    def jobs(self) -> set[str]:
        return {said["id"] for status, said in self.answers if status == 202}


class Second:
    """A worker beside the one of `up`, on the same database."""

    def __init__(self, port: Wharf) -> None:
        self.port = port
        self.lines: list[str] = []
        self.start()

    def start(self) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "manage.py", "worker", "--quiet"],
            cwd=ROOT,
            env=self.port.instance.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        threading.Thread(target=self._read, args=(self.process.stderr,), daemon=True).start()

    def _read(self, pipe: Any) -> None:
        with pipe:
            for line in pipe:
                self.lines.append(line.rstrip("\n"))

    def parts(self) -> dict[int, bool]:
        """The processes below it; whether each is the queue's first, which the others end with."""
        parents = {}
        for pid in self.port.instance.processes():
            with contextlib.suppress(OSError):
                parents[pid] = int(Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[1])
        queue = {pid for pid, parent in parents.items() if parent == self.process.pid}
        below = set(queue)
        while more := {pid for pid, parent in parents.items() if parent in below} - below:
            below |= more
        return {pid: pid in queue for pid in below}

    def kill(self) -> None:
        """Nothing of it is left."""
        parts = self.parts()
        self.process.kill()
        self.process.wait()
        until(lambda: not parts.keys() & self.port.instance.processes().keys(), 120, "the second worker is gone")

    def kill_one(self, chance: random.Random) -> bool:
        """One of its processes is gone: what it was doing is half done, and the others know nothing of it."""
        parts = [pid for pid, is_first in self.parts().items() if not is_first]
        if parts:
            with contextlib.suppress(ProcessLookupError):
                os.kill(chance.choice(parts), signal.SIGKILL)
        return bool(parts)


class Campaign:
    def __init__(self, port: Wharf, seconds: float, jobs: int, seed: int) -> None:
        self.port, self.seconds, self.seed = port, seconds, seed
        self.chance = random.Random(seed)
        words = [word for word, (weight, _) in ENDS.items() for _ in range(weight)]
        # Each word at least once, the rest by weight, in any order.
        chosen = [*ENDS, *self.chance.choices(words, k=max(jobs - len(ENDS), 0))][:jobs]
        self.chance.shuffle(chosen)
        self.posted = [Posted(self.port.people[at % len(self.port.people)], word) for at, word in enumerate(chosen)]
        self.killed: Counter[str] = Counter()
        self.broken: list[str] = []
        self.meddled = 0
        # Which jobs had to be waited for when the workers were put to rest.
        self.rests: list[Counter[str]] = []

    # The storm

    def storm(self) -> None:
        """Everything was posted and everything was killed; both workers run again."""
        self.second = Second(self.port)
        # What follows runs beside the posting, and takes its own chances: each is repeatable by the seed.
        with self._meddling():
            self.began = time.monotonic()
            posting = threading.Thread(target=self._post_all, args=(random.Random(self.seed + 1),))
            posting.start()
            self._kill_in_turn()
            posting.join()
        until(self.port.answers, 300, "the web server answers")

    @property
    def passed(self) -> float:
        return time.monotonic() - self.began

    def _post_all(self, chance: random.Random) -> None:
        waiting: list[Future[None]] = []
        for at, one in enumerate(self.posted):
            due = self.seconds * POSTING_PART * at / len(self.posted)
            time.sleep(max(0.0, due - self.passed))
            fate = chance.random()
            times = 2 if fate < TWICE else 1
            waiting += [self.port.threads.submit(self._post, one) for _ in range(times)]
            if TWICE < fate < TWICE + AGAIN:
                earlier = self.posted[chance.randrange(at + 1)]
                waiting.append(self.port.threads.submit(self._post, earlier))
            if fate > 1 - CANCELLED:
                waiting.append(self.port.threads.submit(self._cancel, self.posted[chance.randrange(at + 1)]))
        for future in waiting:
            future.result(300)

    def _post(self, one: Posted) -> None:
        """Answered with 202, however often it takes."""
        body = {"operation": "ai/video", "provider": "rehearsal", "inputs": SHORT | {"prompt": f"A pier {one.word}"}}
        for _ in range(20):
            status, said = self.port.http(one.person, "POST", "/api/generate", body, one.key)
            one.answers.append((status, said))
            if status == 202:
                return
            if status != 409 or said["code"] != "request_in_progress":
                self.broken.append(f"a post was answered {status} {said}")
                return
            time.sleep(0.3)
        self.broken.append(f"a post was never answered: {one.answers[-1]}")

    def _cancel(self, one: Posted) -> None:
        for job in one.jobs:
            one.cancels.append(self.port.http(one.person, "POST", f"/api/generations/{job}/cancel", {}))

    def _kill_in_turn(self) -> None:
        chance, first_kills = random.Random(self.seed + 2), [float("-inf")] * FIRST_KILLS_A_MINUTE
        time.sleep(min(4.0, self.seconds / 4))
        while self.passed < self.seconds:
            fate = chance.random()
            if fate < 0.4 and time.monotonic() - first_kills[-FIRST_KILLS_A_MINUTE] > 60:
                for worker in self.port.instance.children("config.queue"):
                    with contextlib.suppress(ProcessLookupError):
                        os.killpg(worker, signal.SIGKILL)
                first_kills.append(time.monotonic())
                self.killed["first"] += 1
            elif fate < 0.6 and self.second.kill_one(chance):
                self.killed["one process of the second"] += 1
            else:
                self.second.kill()
                self.killed["second"] += 1
                self.second.start()
            time.sleep(min(chance.uniform(3, 9), max(self.seconds - self.passed, 0)))

    @contextlib.contextmanager
    def _meddling(self) -> Iterator[None]:
        """Tasks are queued again and jobs woken, again and again, from the moment that there are jobs."""
        command = [sys.executable, "manage.py", "shell", "--no-imports", "-c", MEDDLER % {"seed": self.seed}]
        with subprocess.Popen(
            command, cwd=ROOT, env=self.port.instance.environment, stdout=subprocess.PIPE, text=True
        ) as meddler:
            assert meddler.stdout
            try:
                meddler.stdout.readline()  # it takes seconds to begin where the machine is busy
                yield
            finally:
                meddler.kill()
                self.meddled = sum(2 for said in meddler.stdout if int(said))
        if not self.meddled:
            self.broken.append("nothing was queued again and nobody was woken")

    # The quiet

    def quiet(self) -> None:
        """Whatever can end has ended. Leases of the dead end because the clock moves on while no worker lives."""
        least, at = len(self.posted) + 1, time.monotonic()
        while left := self.waiting().total():
            if left < least:
                least, at = left, time.monotonic()
            if time.monotonic() - at > (STILL_SECONDS if self.rests else FIRST_STILL_SECONDS):
                if len(self.rests) == RESTS_MAX:
                    return
                self.rest()
                at = time.monotonic()
            time.sleep(0.5)

    def rest(self) -> None:
        """For a moment no worker lives: whatever was leased may be taken again.

        A clock that jumps while a worker waits for its provider's answer would be a fault that no real clock makes.
        """
        self.rests.append(self.waiting())
        up = self.port.instance.pid
        os.kill(up, signal.SIGSTOP)
        try:
            for worker in self.port.instance.children("config.queue"):
                os.killpg(worker, signal.SIGKILL)
            self.second.kill()
            asked = "SELECT 1 FROM pg_stat_activity WHERE application_name = 'holdfast-worker'"
            until(lambda: not self.port.ask(asked), 120, "no worker is connected")
            time.sleep(0.5)  # what was on its way to the provider has arrived
            self.port.advance(LEASE_SECONDS_MAX)
        finally:
            os.kill(up, signal.SIGCONT)
        self.second.start()

    def waiting(self) -> Counter[str]:
        """The jobs that are still to come to their end, by state and what their prompts ask for."""
        words = {job: one.word for one in self.posted if ENDS[one.word][1] for job in one.jobs}
        rows = self.port.ask(
            "SELECT id, state, verdict_status FROM generations_generation"
            " WHERE id = ANY(%(jobs)s::uuid[]) AND credits_charged IS NULL",
            jobs=list(words),
        )
        return Counter(f"{row['state']} {row['verdict_status'] or ''} {words[str(row['id'])]}" for row in rows)

    # What must be true in the end

    def check(self) -> dict[str, Any]:
        """How the jobs stand; what is wrong is in `broken`."""
        submits = self.port.stand_in.get("state")["submits"]
        rows = {str(row["id"]): row for row in self.port.ask(EVERYTHING)}
        if len(rows) != len(self.posted):
            self.broken.append(f"{len(rows)} jobs for {len(self.posted)} keys")
        for one in self.posted:
            if len(one.jobs) != 1:
                self.broken.append(f"{one.word!r}: one key made {sorted(one.jobs)}")
                continue
            (job,) = one.jobs
            accepted = submits.get(job, {"accepted": 0})["accepted"]
            wrong = self._wrong(one, rows[job], accepted) if job in rows else ["is not there"]
            self.broken += [f"{one.word or 'plain'} {job}: {what}: {rows.get(job)}" for what in wrong]
        lines = [*self.port.instance.lines, *self.port.instance.errors, *self.second.lines]
        done = self.port.instance.command("shell", "--no-imports", "-c", FAILED_TASKS)
        failed: list[str] = json.loads(done.stdout.splitlines()[-1])
        self.broken += [f"a task failed: {task[-500:]}" for task in failed[:5]]
        self.broken += [line for line in [*lines, *failed] if IN_TRANSACTION.search(line)][:5]
        told = Counter(f"{found[1]}: {found[2]}" for line in lines if (found := EVENT.search(line)))
        if not told:
            self.broken.append("the workers' log was not read: doubts at least must be in it")
        try:
            report = self.port.reconcile()
        except AssertionError as error:
            self.broken.append(f"reconcile: {error}")
            report = {}
        return {
            "states": Counter(f"{row['state']} {row['outcome'] or ''}".strip() for row in rows.values()),
            "accepted_twice": sum(one["accepted"] > 1 for one in submits.values()),
            "submits": sum(one["received"] for one in submits.values()),
            "posts": sum(len(one.answers) for one in self.posted),
            "cancels": Counter(status for one in self.posted for status, _ in one.cancels),
            "told_in_the_log": told,
            "reconcile": report,
        }

    @staticmethod
    def _wrong(one: Posted, row: dict[str, Any], accepted: int) -> Iterator[str]:
        """What is not as it must be with this job."""
        expected, stands = ENDS[one.word][1], (row["state"], row["outcome"])
        may_be_cancelled = any(status in (0, 200) for status, _ in one.cancels)
        if accepted > 1:
            yield f"it was accepted {accepted} times"
        if (row["provider_job_id"] is not None) != (accepted == 1):
            yield f"accepted {accepted} times, and its row says otherwise"
        if one.word in NEVER_ACCEPTED and accepted:
            yield "it was accepted"
        if stands == ("cancelled", "refunded"):
            if not may_be_cancelled:
                yield "nobody cancelled it"
        elif expected is None:
            if row["state"] not in HONEST or row["hold_state"] != "open":
                yield "it is not known how it ended, and its row says otherwise"
        elif stands != expected and not (one.word in EITHER and stands in (CHARGED, REFUNDED)):
            yield f"it should be {' '.join(expected)}"
        kinds = {("succeeded", "charged"): ["hold", "capture"]}.get(stands, ["hold", "release"])
        if row["credits_charged"] is None:
            kinds = ["hold"]
        if row["kinds"] != kinds:
            yield f"its lines are {row['kinds']}"
        if row["released"] != (1 if stands == CHARGED else 0):
            yield f"{row['released']} outputs are delivered"


EVERYTHING = """
SELECT job.id, job.state, job.outcome, job.credits_charged, job.provider_job_id, job.attempt_count, job.claim,
       job.verdict_status, job.review, job.next_poll_at, hold.state AS hold_state,
       ARRAY(SELECT kind FROM billing_entry WHERE hold_id = job.hold_id ORDER BY sequence) AS kinds,
       (SELECT count(*) FROM generations_output WHERE generation_id = job.id AND released_at IS NOT NULL) AS released
  FROM generations_generation job JOIN billing_hold hold ON hold.id = job.hold_id
"""


def run(port: Wharf, seconds: float, jobs: int, seed: int) -> dict[str, Any]:
    """A whole campaign; what broke a law is in `broken`."""
    began = time.monotonic()
    campaign = Campaign(port, seconds, jobs, seed)
    campaign.storm()
    stormed = time.monotonic()
    try:
        campaign.quiet()
        found = campaign.check()
    finally:
        campaign.second.kill()
    return {
        "seed": seed,
        "jobs": jobs,
        "killed": campaign.killed,
        "meddled": campaign.meddled,
        **found,
        "storm_seconds": round(stormed - began),
        "quiet_seconds": round(time.monotonic() - stormed),
        "rests": campaign.rests,
        "broken": campaign.broken,
    }


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=120.0, help="of faults; the quiet after them is not counted")
    parser.add_argument("--jobs", type=int, default=500)
    parser.add_argument("--seed", type=int, default=None)
    options = parser.parse_args()
    seed = random.randrange(10**6) if options.seed is None else options.seed
    print(f"seed {seed}", flush=True)
    with wharf(people=PEOPLE) as port:
        summary = run(port, options.seconds, options.jobs, seed)
    print(json.dumps(summary, ensure_ascii=False, default=str))
    return 1 if summary["broken"] else 0


if __name__ == "__main__":
    sys.exit(main())
