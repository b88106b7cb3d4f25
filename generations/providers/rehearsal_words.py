"""The words that choose what the rehearsal provider does, as payment test cards do: as data, and how to read them.

Written in square brackets anywhere in a prompt, several at once. Pure: the stand-in that acts on them, and whoever
shows them to people, read this one table.
"""

import re
from dataclasses import dataclass


@dataclass(frozen=True)
class Word:
    """One word. `example` is what to write; `sentence` says what then happens, for people."""

    name: str
    example: str
    takes: str  # "", "code", "time" or "status"
    sentence: str


WORDS = (
    Word("moderation_blocked", "[moderation_blocked]", "",
         "The job is accepted, and then fails because its content was blocked."),
    Word("invalid_request", "[invalid_request]", "",
         "The job is accepted, and then fails because its request was not valid."),
    Word("failed", "[failed model_overloaded]", "code",
         "The job is accepted, and then fails with the code that you write."),
    Word("late", "[late 70m]", "time",
         "The job is accepted, no question about it is answered for so long (s, m or h), and then it has succeeded."),
    Word("slow", "[slow 20s]", "time",
         "The job takes so long (s, m or h), with progress; together with other words, they come after it."),
    Word("timeout_after_accept", "[timeout_after_accept]", "",
         "The job is accepted, but the answer that says so comes too late to be heard."),
    Word("submit", "[submit 503]", "status",
         "Each submission is answered with this HTTP status and nothing is accepted. 429: only the first two."),
    Word("poll", "[poll 503]", "status",
         "The first three questions about the job are answered with this HTTP status, the next ones truly."),
    Word("garbage", "[garbage]", "",
         "The first three questions are answered with cut-off JSON, a page of HTML and a list, the next ones truly."),
    Word("unknown_word", "[unknown_word]", "",
         "The job's status is “transmogrified”, until the stand-in is told another."),
    Word("silent", "[silent]", "",
         "The job is accepted, and no question about it is ever answered."),
    Word("flip", "[flip]", "",
         "The first final answer is “completed”; every later one is “failed”."),
    Word("no_output", "[no_output]", "",
         "The job completes, but its output cannot be downloaded."),
)  # fmt: skip
DEFAULT_SENTENCE = "Without any of these words the job succeeds in about two seconds."

SPOILED_POLLS = 3  # how many polls [poll N] and [garbage] spoil
UNITS = {"s": 1, "m": 60, "h": 3600}
TIME_SECONDS_MAX = 30 * 86_400
_NAMES = {word.name: word for word in WORDS}
_BRACKETS = re.compile(r"\[\s*([a-z_]{3,30})(?:\s+([^\[\]\s]{1,100}))?\s*\]", re.IGNORECASE)


def parse(prompt: str) -> dict[str, str | int]:
    """The words in a prompt with what they take: a code as text, a time in seconds, an HTTP status as a number.

    What is not one of our words, or does not take what was written after it, is ordinary text of the prompt. The first
    of a word written twice counts.
    """
    found: dict[str, str | int] = {}
    for name, argument in _BRACKETS.findall(prompt):
        word = _NAMES.get(name.lower())
        if not word or word.name in found:
            continue
        value = _argument(word, argument)
        if value is not None:
            found[word.name] = value
    return found


def _argument(word: Word, text: str) -> str | int | None:
    if word.takes == "":
        return 1 if text == "" else None
    if word.takes == "code":
        return text or "provider_error"
    if word.takes == "status":
        return int(text) if re.fullmatch(r"[45][0-9][0-9]", text, re.ASCII) else None
    time = re.fullmatch(r"([0-9]{1,7})([smh])", text, re.ASCII | re.IGNORECASE)
    return min(int(time[1]) * UNITS[time[2].lower()], TIME_SECONDS_MAX) if time else None
