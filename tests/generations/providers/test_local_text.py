"""Texts from templates: they follow what was asked, stay within every bound, and break under no prompt."""

from __future__ import annotations

import re
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from generations.providers import local_text
from generations.providers.local_text import compose, count_tokens
from tests.pace import within_cpu
from tools_registry import pricing, registry
from tools_registry.catalogue import SHIPPED_COSTS

RATES = {cost["tool"]: cost["rates"] for cost in SHIPPED_COSTS}
LAMP = "Lumen, a solar lamp for tents. It charges in an hour, weighs 90 grams and survives rain."
KINDS = registry.SCRIPT.takes["kind"]
TONES = registry.SCRIPT.takes["tone"]
SCENE = re.compile(r"^## (\d+)\. (.+) \((\d+):(\d\d)\u2013(\d+):(\d\d)\)$", re.MULTILINE)
HOSTILE = [
    "nul \x00 and bell \x07",
    "lone surrogate \ud800 here",
    "\U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467 and flags \U0001f1ea\U0001f1fa",
    "\u0645\u0631\u062d\u0628\u0627 \u05e9\u05dc\u05d5\u05dd",
    "日本語のプロンプト。灯台の話です。",
    "{it} {It.__class__} {0} %s %(x)s ${y} {{}}",
    "two\nlines\r\nand\ttabs\u2028\u2029\x0b\x1c",
    "## 9. Fake (0:00\u20139:99)\n**Voice:** \u201cno\u201d\n1/1 no",
    "W" * 4000,
    "word " * 800,
    "a, " * 1333,
    ". " * 2000,
    "\u202e\u2066\u200b\u0301" * 1000,
    "e" + "\u0301" * 3999,
    " ",
    "\u202e",
    "#",
    "write a script about ",
    "\U0001f600" * 4000,
]


def script(prompt: str = LAMP, **inputs: Any) -> local_text.Text:
    return compose("ai/script", registry.SCRIPT.example | {"prompt": prompt} | inputs)


def thread(prompt: str = LAMP, **inputs: Any) -> local_text.Text:
    return compose("ai/threads", registry.THREADS.example | {"prompt": prompt} | inputs)


def posts_of(text: str) -> list[str]:
    return re.findall(r"^\d+/\d+ .*$", text, re.MULTILINE)


# Scripts


@pytest.mark.parametrize("seconds", [10, 11, 29, 30, 59, 60, 61, 119, 180])
@pytest.mark.parametrize("kind", KINDS)
def test_the_time_codes_of_a_script_follow_each_other_and_end_at_its_length(kind: str, seconds: int) -> None:
    found = script(kind=kind, seconds=seconds, length_max=4000)
    scenes = [(int(n), 60 * int(a) + int(b), 60 * int(c) + int(d)) for n, _, a, b, c, d in SCENE.findall(found.text)]
    assert [number for number, _, _ in scenes] == list(range(1, len(scenes) + 1))
    assert len(scenes) >= 3
    starts, ends = [start for _, start, _ in scenes], [end for _, _, end in scenes]
    assert starts == [0, *ends[:-1]]
    assert ends[-1] == seconds
    assert all(end - start >= 2 for _, start, end in scenes)
    assert found.text.count("**Picture:**") == found.text.count("**Voice:**") == len(scenes)


@pytest.mark.parametrize("seconds", [10, 30, 180])
@pytest.mark.parametrize("tone", TONES)
def test_what_is_said_can_be_said_in_its_scene(tone: str, seconds: int) -> None:
    found = script("A very long subject of which there is no end at all. " * 10, tone=tone, seconds=seconds)
    lengths = [60 * int(c) + int(d) - 60 * int(a) - int(b) for _, _, a, b, c, d in SCENE.findall(found.text)]
    voices = re.findall(r"^\*\*Voice:\*\* \u201c(.*)\u201d$", found.text, re.MULTILINE)
    for voice, length in zip(voices, lengths, strict=False):
        assert len(voice.split()) <= 3 * length


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tone", TONES)
def test_a_script_is_of_its_kind_and_tone_and_names_its_subject(kind: str, tone: str) -> None:
    found = script(kind=kind, tone=tone)
    assert f"{kind.capitalize()} · {tone} · 30 s" in found.text
    assert SCENE.findall(found.text)[0][1] == local_text.BEATS[kind][0][1]
    assert found.text.count("Lumen") >= 4
    voices = re.findall(r"\*\*Voice:\*\* (.*)", found.text)
    assert voices[0].strip("\u201c\u201d") in [
        line.format(it="Lumen", It="Lumen") for line in local_text.OPENINGS[kind][tone]
    ]
    others = {script(kind=one, tone=other).text for one in KINDS for other in TONES}
    assert len(others) == 16


def test_a_script_says_what_was_said_of_its_subject() -> None:
    spoken = script(seconds=60).text.casefold()
    for point in ("a solar lamp for tents.", "it charges in an hour", "survives rain."):
        assert point in spoken


# Threads


@pytest.mark.parametrize("posts", [3, 6, 20])
@pytest.mark.parametrize("tone", TONES)
@pytest.mark.parametrize("prompt", [LAMP, "x", "W" * 4000, "word " * 800, "Why we keep an old lighthouse lit"])
def test_every_post_has_its_number_and_at_most_280_characters(prompt: str, tone: str, posts: int) -> None:
    found = thread(prompt, tone=tone, posts=posts, audience="n" * 200, length_max=4000)
    lines = posts_of(found.text)
    assert [line.split(" ")[0] for line in lines] == [f"{number}/{posts}" for number in range(1, posts + 1)]
    assert max(map(len, lines)) <= 280
    assert found.text.index("**Hook**") < found.text.index("**Post**") < found.text.index("**Call to action**")
    assert re.search(r" #\w+$", lines[-1])


def test_a_thread_speaks_to_its_audience_about_its_subject() -> None:
    found = thread(audience="people who camp in the rain")
    assert "people who camp in the rain" in posts_of(found.text)[0]
    assert "Lumen" in posts_of(found.text)[0]
    assert "#Lumen" in posts_of(found.text)[-1]
    assert "It charges in an hour" in found.text


def test_no_post_of_a_thread_is_said_twice() -> None:
    lines = [line.split(" ", 1)[1] for line in posts_of(thread("A boat", posts=16, length_max=4000).text)]
    assert len(set(lines)) == len(lines)


# Both


@pytest.mark.parametrize("of", [script, thread])
def test_a_text_says_first_what_it_is(of: Any) -> None:
    assert of().text.splitlines()[0] == "*Composed from templates on this machine, without a language model.*"
    assert of(length_max=100).text.splitlines()[0].startswith("*Composed from templates on this machine")


@pytest.mark.parametrize("of", [script, thread])
def test_the_same_inputs_make_the_same_text_and_others_another(of: Any) -> None:
    assert of() == of()

    def said(*prompt: str, **inputs: Any) -> set[str]:
        """Whole sentences; headings are the same in every text."""
        return {line for line in of(*prompt, **inputs).text.splitlines()[5:] if len(line) > 25}

    one, other = said(LAMP), said("A bakery in Ghent that opens at night")
    assert len(one & other) <= len(one) / 4
    one, other = said(tone="serious"), said(tone="funny")
    assert len(one & other) <= len(one) / 2


@pytest.mark.parametrize(
    ("prompt", "subject", "title"),
    [
        (LAMP, "Lumen", "Lumen"),
        (
            "A lighthouse that anyone can rent for a night",
            "a lighthouse",
            "A lighthouse that anyone can rent for a night",
        ),
        ("please write me a short advert about our new bakery", "our new bakery", "Our new bakery"),
        ("A trailer for The Last Boat", "the Last Boat", "The Last Boat"),
        ("Why we keep it lit", "\u201cWhy we keep it lit\u201d", "Why we keep it lit"),
        ("rain on a tin roof", "\u201cRain on a tin roof\u201d", "Rain on a tin roof"),
        (
            "Children love the story of the moon",
            "\u201cChildren love the story of the moon\u201d",
            "Children love the story of the moon",
        ),
        ("灯台の話です", "\u201c灯台の話です\u201d", "灯台の話です"),
        ("\u202e\u200b", "this idea", "This idea"),
        ("{it}", "{it}", "{it}"),
    ],
)
def test_the_subject_is_found_in_the_prompt(prompt: str, subject: str, title: str) -> None:
    brief = local_text.Brief.of("ai/script", {"prompt": prompt})
    assert (brief.subject, brief.title) == (subject, title)


@pytest.mark.parametrize(
    ("prompt", "words"),
    [
        (LAMP, ("Lumen", "solar", "lamp", "tents", "charges", "hour", "weighs", "grams", "survives", "rain")),
        ("Our bakery in Ghent", ("bakery", "Ghent", "time")),
        ("and the of", local_text.FILLERS),
        ("灯台の話です。灯台", ("灯台の話です", "灯台", "time")),
    ],
)
def test_the_words_that_matter_are_found_once(prompt: str, words: tuple[str, ...]) -> None:
    assert local_text.Brief.of("ai/script", {"prompt": prompt}).words == words


@pytest.mark.parametrize("of", [script, thread])
@pytest.mark.parametrize("length_max", [100, 101, 150, 300])
def test_a_text_stops_at_the_length_that_was_asked_for(of: Any, length_max: int) -> None:
    whole, cut = of(seconds=180, length_max=4000) if of is script else of(posts=20, length_max=4000), None
    cut = of(seconds=180, length_max=length_max) if of is script else of(posts=20, length_max=length_max)
    assert (whole.is_complete, cut.is_complete) == (True, False)
    assert cut.output_tokens == count_tokens(cut.text) == length_max


@pytest.mark.parametrize("of", [script, thread])
def test_what_ships_as_default_fits(of: Any) -> None:
    assert of().is_complete


@pytest.mark.parametrize(
    ("text", "count"),
    [
        ("", 0),
        ("The lighthouse, at dawn.", 7),  # The lighth ouse , at dawn .
        ("  \n\t ", 0),
        ("12345", 2),
        ("don\u2019t", 3),
        ("灯台", 2),
        ("\U0001f600\U0001f600", 2),
        ("é" * 6, 1),
        ("é" * 7, 2),
    ],
)
def test_tokens_are_counted_as_described(text: str, count: int) -> None:
    assert count_tokens(text) == count


@given(st.text(max_size=300))
def test_a_token_is_at_least_a_byte_and_no_letter_is_left_out(text: str) -> None:
    assert count_tokens(text) <= len(text.encode("utf-8", "surrogatepass"))
    assert "".join(local_text.TOKEN.findall(text)) == "".join(text.split())


def keeps_its_bounds(operation: str, inputs: dict[str, Any]) -> None:
    found = compose(operation, inputs)
    found.text.encode("utf-8")
    assert not re.search(r"[\x00-\x09\x0b-\x1f\x7f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]", found.text)
    assert 0 < found.output_tokens == count_tokens(found.text) <= inputs["length_max"]
    assert 0 < found.input_tokens <= pricing.input_tokens_max(inputs)
    usage = {"input_tokens": found.input_tokens, "output_tokens": found.output_tokens}
    estimate = pricing.estimate("per_token", RATES[operation], inputs)
    assert estimate.min <= pricing.price("per_token", RATES[operation], inputs, usage) <= estimate.max


@pytest.mark.parametrize("prompt", HOSTILE, ids=range(len(HOSTILE)))
@pytest.mark.parametrize("operation", ["ai/script", "ai/threads"])
def test_any_prompt_is_carried_out_within_its_price(operation: str, prompt: str) -> None:
    with within_cpu(2):
        example = {**registry.OPERATIONS[operation].example, "prompt": prompt[:4000], "length_max": 4000}
        keeps_its_bounds(operation, example | ({"audience": prompt[:200]} if operation == "ai/threads" else {}))


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(), min_size=1, max_size=400),
    st.sampled_from(KINDS),
    st.sampled_from(TONES),
    st.integers(10, 180),
    st.integers(100, 4000),
)
def test_any_script_keeps_its_bounds(prompt: str, kind: str, tone: str, seconds: int, length_max: int) -> None:
    keeps_its_bounds(
        "ai/script",
        {"prompt": prompt, "kind": kind, "tone": tone, "seconds": seconds, "length_max": length_max},
    )


@settings(max_examples=150, deadline=None)
@given(
    st.text(st.characters(), min_size=1, max_size=400),
    st.text(st.characters(), min_size=1, max_size=200),
    st.sampled_from(TONES),
    st.integers(3, 20),
    st.integers(100, 4000),
)
def test_any_thread_keeps_its_bounds(prompt: str, audience: str, tone: str, posts: int, length_max: int) -> None:
    inputs = {"prompt": prompt, "audience": audience, "tone": tone, "posts": posts, "length_max": length_max}
    keeps_its_bounds("ai/threads", inputs)
    whole = compose("ai/threads", inputs | {"length_max": 4000}).text
    lines = posts_of(whole)
    assert len(lines) == posts
    assert max(map(len, lines)) <= 280
