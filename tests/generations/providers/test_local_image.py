"""Pictures drawn from the words: they show what is named, differ with every input, and any prompt makes one."""

from __future__ import annotations

import pytest
from PIL import Image, ImageChops, ImageStat

from generations.providers import local_image
from generations.providers.local_image import QUALITIES, draw
from tools_registry import registry

PROMPT = "A lighthouse at dawn, gulls over calm water, and one small boat that comes home."
SIZE = (384, 256)


def difference(one: Image.Image, other: Image.Image) -> float:
    """How far apart two pictures are, seen small: 0 is the same, 255 black and white."""
    small = [picture.resize((48, 48), Image.Resampling.BOX) for picture in (one, other)]
    return sum(ImageStat.Stat(ImageChops.difference(*small)).mean) / 3


def test_every_quality_and_size_has_its_picture() -> None:
    assert set(QUALITIES) == set(registry.IMAGE.takes["quality"])
    for size in registry.IMAGE.takes["size"]:
        width, height = (int(part) for part in size.split("x"))
        picture = draw(PROMPT, (width, height), "draft")
        assert (picture.size, picture.mode) == ((width, height), "RGB")


def test_the_same_words_make_the_same_picture_but_for_the_grain() -> None:
    assert difference(draw(PROMPT, SIZE, "standard"), draw(PROMPT, SIZE, "standard")) < 0.5


@pytest.mark.parametrize(
    "other",
    ["A city in the rain at night", "A lighthouse", PROMPT + " Again.", "x", "日本語"],
)
def test_other_words_make_another_picture(other: str) -> None:
    assert difference(draw(PROMPT, SIZE, "standard"), draw(other, SIZE, "standard")) > 3


def test_quality_can_be_seen() -> None:
    draft, standard, high = (draw(PROMPT, SIZE, quality) for quality in QUALITIES)
    assert difference(draft, standard) > 1
    assert difference(standard, high) > 0.5
    assert difference(draft, high) > 1


@pytest.mark.parametrize("thing", local_image.THINGS, ids=lambda thing: thing.draw.__name__)
@pytest.mark.parametrize("size", [(256, 256), (384, 256), (256, 384)], ids=str)
def test_everything_that_can_be_named_is_drawn_in_every_shape(thing: local_image.Thing, size: tuple[int, int]) -> None:
    canvas = local_image.Canvas(size, QUALITIES["high"], local_image.PALETTES[0], 7)
    for index in range(4):
        canvas.ridge(index)
    before = canvas.picture.copy()
    thing.draw(canvas)
    assert (canvas.picture.tobytes() == before.tobytes()) == (thing.draw is local_image._nothing)


@pytest.mark.parametrize(
    ("text", "drawn"),
    [
        ("A boat beside a lighthouse", ["_boat", "_lighthouse"]),
        ("Mountains, then snow", ["_mountains", "_snow"]),
        ("BALLOONS!", ["_balloons"]),
        ("boathouse mountaineering", None),  # whole words only
        ("the sea", None),  # water alone is no picture: something plain stands beside it
        ("", None),
    ],
)
def test_what_is_named_is_shown_in_its_order(text: str, drawn: list[str] | None) -> None:
    found = local_image._things_in(text, local_image.random.Random(1))
    if drawn is not None:
        assert [thing.draw.__name__ for thing in found] == drawn
    else:
        assert len([thing for thing in found if thing.draw in local_image.PLAIN]) == 2


@pytest.mark.parametrize(
    "prompt",
    [
        "nul \x00 and bell \x07",
        "lone surrogate \ud800 here",
        "emoji \U0001f600\U0001f469\u200d\U0001f469\u200d\U0001f467",
        "مرحبا بالعالم שלום עולם",
        "two\nlines\r\nand\ttabs\u2028\u2029",
        "W" * 2000,
        "word " * 400,
        "lighthouse boat city mountain tree rain snow " * 40,
        "\u202e\u200b\u0301" * 600,
        "e" + "\u0301" * 1999,
        " ",
        "%s {0} \\N '\"",
    ],
    ids=range(12),
)
def test_any_prompt_makes_a_picture(prompt: str) -> None:
    said: list[int] = []
    picture = draw(prompt, SIZE, "draft", said.append)
    assert picture.size == SIZE
    assert len(picture.resize((16, 16)).getcolors() or []) > 20
    assert said == sorted(said)
    assert said[-1] <= 99
