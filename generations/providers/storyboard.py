"""Draws a storyboard: the words of a prompt, scene by scene, over a moving landscape chosen by the words themselves.

Pure: a prompt and a size in, frames out. The same prompt makes the same pictures. Everything costly is drawn once a
scene; a frame is a few crops and pastes of it (about 4 ms at 1280×720).
"""

import contextlib
import hashlib
import math
import random
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from PIL import Image, ImageChops, ImageDraw, ImageFilter, ImageFont

FONTS = Path(__file__).parent / "fonts"
# In this order, the first that has a character draws it. The first five ship with us; the others are used where the
# machine has them, for writing that Inter lacks. A character that none has is left out.
FONT_FILES = (
    FONTS / "inter-latin-wght-normal.woff2",
    FONTS / "inter-latin-ext-wght-normal.woff2",
    FONTS / "inter-cyrillic-wght-normal.woff2",
    FONTS / "inter-greek-wght-normal.woff2",
    FONTS / "inter-vietnamese-wght-normal.woff2",
    Path("/usr/share/fonts/truetype/dejavu/DejaVuSans.ttf"),
    Path("/usr/share/fonts/dejavu-sans-fonts/DejaVuSans.ttf"),
    Path("/usr/share/fonts/TTF/DejaVuSans.ttf"),
    Path("/usr/share/fonts/opentype/noto/NotoSansCJK-Regular.ttc"),
    Path("/usr/share/fonts/noto-cjk/NotoSansCJK-Regular.ttc"),
    Path("/System/Library/Fonts/Supplemental/Arial Unicode.ttf"),
)
WEIGHT = 620
MEASURE = 100  # the font size at which text is measured; widths grow in proportion

SCENE_SECONDS = 2.0
SCENES_MAX = 8
FADE_SECONDS = 0.4  # from one scene into the next
LEAVE_SECONDS = 0.2  # a scene's words, before the next scene
REVEAL_SECONDS = 0.45  # one line of words, from its first letter to its last

Colour = tuple[int, int, int]


@dataclass(frozen=True)
class Palette:
    sky: tuple[Colour, ...]  # from the top down to the horizon
    light: Colour  # sun or moon
    land: Colour  # the nearest ridge
    is_night: bool = False


def _rgb(text: str) -> Colour:
    return int(text[1:3], 16), int(text[3:5], 16), int(text[5:7], 16)


def _palette(sky: str, light: str, land: str, is_night: bool = False) -> Palette:
    return Palette(tuple(_rgb(colour) for colour in sky.split()), _rgb(light), _rgb(land), is_night)


PALETTES = (
    _palette("#1b2748 #4c4a78 #b95f5c #eba766", "#ffe3ab", "#14202c"),  # dawn
    _palette("#04222a #0b4a50 #2f8279 #cdbf86", "#fff2cc", "#06232a"),  # sea green
    _palette("#1a1236 #482c6a #9c4876 #ef8a63", "#ffd0a0", "#170f28"),  # dusk
    _palette("#050a1c #0d1d40 #1f3d6e #547aa8", "#eef3ff", "#070d1f", is_night=True),
    _palette("#17222b #2d4450 #5c7885 #a9b9b6", "#f2f1e6", "#121b22"),  # after rain
    _palette("#2a1a2e #703939 #bd6b3c #efc079", "#fff0c4", "#23151f"),  # warm evening
    _palette("#03131d #07333c #116a5b #6fbf95", "#effff5", "#041319", is_night=True),  # northern
    _palette("#21284c #625788 #b07e98 #edc7aa", "#fff3e0", "#1a1d38"),  # rose morning
)


def mix(one: Colour, other: Colour, part: float) -> Colour:
    return tuple(round(a + (b - a) * part) for a, b in zip(one, other, strict=True))  # type: ignore[return-value]


# Words ---------------------------------------------------------------------------------------------------------------


def readable(prompt: str) -> str:
    """The prompt as one line of characters that can be drawn: no control characters, no lone surrogates."""
    text = unicodedata.normalize("NFC", prompt.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    kept = []
    for character in text:
        kind = unicodedata.category(character)
        if character.isspace() or kind in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        elif kind not in ("Cf", "Cs", "Co", "Cn") and character not in "\ufe0f\ufe0e\ufffd":
            kept.append(character)
    return " ".join("".join(c for c in kept if c == " " or _font_index(c) is not None).split())


def scenes_of(text: str, count_max: int) -> list[str]:
    """The text in at most `count_max` parts of about one length, cut where a sentence or clause ends if one is near."""
    words = text.split(" ")
    count = max(1, min(count_max, len(words) // 2))
    parts, left = [], words
    for remaining in range(count, 1, -1):
        target = (sum(map(len, left)) + len(left)) / remaining
        best, best_cost, length = 1, math.inf, 0
        for index, word in enumerate(left[: len(left) - remaining + 1], 1):
            length += len(word) + 1
            ending = 0.55 if re.search(r"[.!?…:;]$", word) else 0.4 if word.endswith((",", "—", "–", ")")) else 0.0
            cost = abs(length - target) / target - ending
            if cost < best_cost:
                best, best_cost = index, cost
        parts.append(" ".join(left[:best]))
        left = left[best:]
    return [*parts, " ".join(left)]


@lru_cache(maxsize=64)
def _font(index: int, size: int, weight: int = WEIGHT) -> ImageFont.FreeTypeFont | None:
    try:
        font = ImageFont.truetype(FONT_FILES[index], size)
    except OSError:
        return None
    with contextlib.suppress(OSError, NotImplementedError):  # not a variable font
        font.set_variation_by_axes([weight])
    return font


@lru_cache(maxsize=4096)
def _font_index(character: str) -> int | None:
    """Which of the fonts draws the character; None when none of them has it."""
    for index in range(len(FONT_FILES)):
        font = _font(index, 24)
        if font is None:
            continue
        if character == " " or bytes(font.getmask(character)) != _missing(index):
            return index
    return None


@lru_cache(maxsize=16)
def _missing(index: int) -> bytes:
    font = _font(index, 24)
    return bytes(font.getmask("\U0010fffe")) if font else b""


def _runs(text: str) -> list[tuple[int, str]]:
    """The text in runs of one font each, so that joined and right-to-left writing is shaped as a whole."""
    runs: list[tuple[int, str]] = []
    for character in text:
        if runs and (character == " " or unicodedata.combining(character)):
            index = runs[-1][0]
        else:
            index = _font_index(character) or 0
        if runs and runs[-1][0] == index:
            runs[-1] = (index, runs[-1][1] + character)
        else:
            runs.append((index, character))
    return runs


@lru_cache(maxsize=4096)
def _width(text: str) -> float:
    """The width of the text at font size MEASURE."""
    total = 0.0
    for index, run in _runs(text):
        font = _font(index, MEASURE)
        total += font.getlength(run) if font else 0.0
    return total


def is_right_to_left(text: str) -> bool:
    for character in text:
        direction = unicodedata.bidirectional(character)
        if direction in ("R", "AL"):
            return True
        if direction == "L":
            return False
    return False


def wrap(text: str, width: float) -> list[str]:
    """The lines of a text, none wider than `width` (at font size MEASURE); a word too long for a line is cut."""
    lines: list[str] = []
    line, line_width, space = "", 0.0, _width(" ")
    for whole in text.split(" "):
        word, word_width = whole, _width(whole)
        if line and line_width + space + word_width <= width:
            line, line_width = f"{line} {word}", line_width + space + word_width
            continue
        if line:
            lines.append(line)
        while word_width > width and len(word) > 1:
            cut = max(1, min(len(word) - 1, int(len(word) * width / word_width)))
            while cut > 1 and _width(word[:cut]) > width:
                cut -= 1
            lines.append(word[:cut])
            word = word[cut:]
            word_width = _width(word)
        line, line_width = word, word_width
    return [*lines, line] if line else lines


@dataclass(frozen=True)
class Setting:
    """How a scene's words stand in the frame."""

    lines: list[str]
    font_size: int
    line_height: int


def fit(text: str, width: int, height: int, largest: int, smallest: int) -> Setting:
    """The words as large as fit into width × height; where even the smallest is too large, the end is left out (…)."""

    def at(size: int) -> Setting:
        return Setting(wrap(text, width * MEASURE / size * 0.985), size, round(size * (1.24 if size > 30 else 1.34)))

    low, high, best = smallest, largest, None
    while low <= high:
        size = (low + high) // 2
        tried = at(size)
        # A few large lines look better than one that is cut in the middle of a word.
        whole_words = all(_width(word) * size / MEASURE <= width for word in text.split(" ") if len(word) <= 18)
        if len(tried.lines) * tried.line_height <= height and (whole_words or size == smallest):
            best, low = tried, size + 1
        else:
            high = size - 1
    if best:
        return best
    least = at(smallest)
    count = max(1, height // least.line_height)
    lines = least.lines[:count]
    while len(lines[-1]) > 1 and _width(lines[-1] + "…") * smallest / MEASURE > width:
        lines[-1] = lines[-1][:-1]
    return Setting([*lines[:-1], lines[-1].rstrip() + "…"], smallest, least.line_height)


# Pictures ------------------------------------------------------------------------------------------------------------


def _sky(
    palette: Palette, width: int, height: int, at: tuple[float, float], brightness: float, chance: random.Random
) -> Image.Image:
    """Sky, stars, the glow and the disc of the light, with a little grain so that the gradient does not band."""
    horizon = 0.78
    column = Image.new("RGB", (1, 256))
    stops = palette.sky
    for row in range(256):
        place = min(row / 255 / horizon, 1.0) * (len(stops) - 1)
        index = min(int(place), len(stops) - 2)
        step = place - index
        step = step * step * (3 - 2 * step)
        column.putpixel((0, row), mix(stops[index], stops[index + 1], step))
    picture = column.resize((width, height), Image.Resampling.BICUBIC)
    unit = min(width, height)
    _shade(picture)
    if palette.is_night:
        stars = Image.new("L", (width, height), 0)
        draw = ImageDraw.Draw(stars)
        for _ in range(round(width * height / 6500)):
            x, y = chance.uniform(0, width), chance.uniform(0, height) ** 1.0 * 0.62
            r = chance.choice((0.5, 0.5, 0.8, 1.2)) * unit / 720
            draw.ellipse((x - r, y - r, x + r, y + r), fill=chance.randint(70, 220))
        picture.paste(palette.light, (0, 0), stars)
    x, y = at[0] * width, at[1] * height
    glow_size = round(unit * 1.9)
    glow = ImageChops.invert(Image.radial_gradient("L")).resize((glow_size, glow_size), Image.Resampling.BICUBIC)
    strength = (0.42 if palette.is_night else 0.72) * brightness
    # The gradient is not yet dark at the middle of its sides (74 of 255): what is below would show as a square.
    glow = glow.point([round(255 * strength * (max(0, level - 76) / 179) ** 1.7) for level in range(256)])
    picture.paste(palette.light, (round(x - glow_size / 2), round(y - glow_size / 2)), glow)
    radius = unit * (0.05 if palette.is_night else 0.075)
    side = math.ceil(radius * 2) + 4
    disc = Image.new("L", (side * 4, side * 4), 0)
    centre = side * 2
    ImageDraw.Draw(disc).ellipse(
        (centre - radius * 4, centre - radius * 4, centre + radius * 4, centre + radius * 4),
        fill=round(250 * brightness),
    )
    disc = disc.resize((side, side), Image.Resampling.LANCZOS)
    picture.paste(palette.light, (round(x - side / 2), round(y - side / 2)), disc)
    grain = Image.effect_noise((width, height), 2.5)
    return ImageChops.add(picture, Image.merge("RGB", (grain, grain, grain)), 1, -128)


def _shade(sky: Image.Image) -> None:
    """Darkens the sky a little where the words stand, so that they read on every palette."""
    column = Image.new("L", (1, 64))
    for row in range(64):
        column.putpixel((0, row), round(74 * math.sin(math.pi * min(1.0, (row + 8) / 72)) ** 0.8))
    sky.paste((6, 12, 20), (0, 0), column.resize(sky.size, Image.Resampling.BICUBIC))


@dataclass(frozen=True)
class Ridge:
    """One line of hills: its colours, and its outline, long enough that any window of it is one crop."""

    top: int
    speed: int  # whole pixels a frame, so that the edge never shimmers
    colours: Image.Image
    outline: Image.Image


def _ridge(
    palette: Palette, width: int, height: int, depth: float, speed: int, chance: random.Random, sharpness: float
) -> Ridge:
    """A ridge at `depth` 0 (far) to 1 (near). Its outline repeats after `span` pixels, at least one frame width."""
    span = max(width, round(height * 1.2))
    rise = height * (0.20 - 0.07 * depth)
    base = height * (0.70 + 0.20 * depth)
    top = round(base - rise)
    waves = [
        (frequency, chance.uniform(0, math.tau), chance.uniform(0.6, 1.0) / frequency**sharpness)
        for frequency in (1, 2, 3, 5, 8, 13, 21)
    ]
    whole = sum(size for _, _, size in waves)
    points = []
    for x in range(0, span * 2 + 1, 4):
        angle = math.tau * x / (span * 2)
        value = sum(size * math.sin(frequency * angle + phase) for frequency, phase, size in waves) / whole
        points.append((x, (base - top) * 2 * (0.5 - 0.5 * value)))
    strip_height = height - top
    double = Image.new("L", (span * 2, strip_height * 2), 0)
    ImageDraw.Draw(double).polygon([(0, strip_height * 2), *points, (span * 2, strip_height * 2)], fill=255)
    single = double.resize((span, strip_height), Image.Resampling.LANCZOS)
    outline = Image.new("L", (span + width, strip_height))
    outline.paste(single, (0, 0))
    outline.paste(single, (span, 0))
    mist = palette.sky[-1]
    colour = mix(mix(mist, palette.sky[1], 0.55), palette.land, 0.18 + 0.82 * depth)
    lower = mix(colour, mist, 0.20 * (1 - depth)) if depth < 1 else palette.land
    column = Image.new("RGB", (1, 64))
    for row in range(64):
        column.putpixel((0, row), mix(colour, lower, row / 63))
    return Ridge(top, speed, column.resize((width, strip_height), Image.Resampling.BICUBIC), outline)


@dataclass(frozen=True)
class Line:
    """One drawn line of words: its letters and their shadow, as masks, and where and when it appears."""

    x: int
    y: int
    letters: Image.Image
    shadow: Image.Image
    size: int
    starts_at: float
    is_rtl: bool


def draw_text(text: str, size: int, weight: int = WEIGHT) -> Image.Image:
    """The letters as a mask, with room around them."""
    width = math.ceil(_width(text) * size / MEASURE) + size * 2
    mask = Image.new("L", (width, size * 2), 0)
    draw = ImageDraw.Draw(mask)
    x = float(size)
    for index, run in _runs(text):
        font = _font(index, size, weight)
        if font:
            draw.text((x, size * 1.35), run, font=font, fill=255, anchor="ls")
            x += font.getlength(run)
    return mask


def _line(text: str, x: int, y: int, size: int, width: int, starts_at: float) -> Line:
    letters = draw_text(text, size)
    shadow = letters.filter(ImageFilter.GaussianBlur(max(size * 0.16, 1.5))).point(
        lambda level: min(255, int(level * 0.62))
    )
    is_rtl = is_right_to_left(text)
    left = x - size if not is_rtl else x + width - letters.width + size
    return Line(left, y - round(size * 0.35), letters, shadow, size, starts_at, is_rtl)


class Scene:
    """One scene, drawn as far as it does not move."""

    def __init__(
        self,
        text: str,
        caption: str,
        size: tuple[int, int],
        palette: Palette,
        seed: int,
        frame_count: int,
        fps: int,
    ) -> None:
        self.width, self.height = width, height = size
        self.fps = fps
        chance = random.Random(seed)  # noqa: S311  (a landscape, not a secret)
        unit = min(width, height)
        pace = max(1, round(unit / 720 * 24 / fps))
        self.sky_every = 2  # the sky moves one pixel every so many frames
        self.drift = frame_count // self.sky_every + 1
        light = chance.uniform(0.66, 0.86), chance.uniform(0.16, 0.25)
        if height > width:
            light = chance.uniform(0.55, 0.80), chance.uniform(0.56, 0.62)
        margin = round(width * 0.075) if width >= height else round(width * 0.085)
        room = width - 2 * margin, round(height * (0.58 if width >= height else 0.52))
        setting = fit(text, *room, largest=round(unit * 0.125), smallest=max(11, round(unit * 0.026)))
        brightness = 1.0 if len(setting.lines) <= 4 else 0.4  # many words reach the light, and must read on it
        self.sky = _sky(palette, width + self.drift, height, light, brightness, chance)
        self.ridges = [
            _ridge(palette, width, height, depth, pace * speed, chance, sharpness)
            for depth, speed, sharpness in ((0.0, 1, 0.75), (0.38, 2, 0.9), (0.72, 3, 1.05), (1.0, 5, 1.2))
        ]
        self.start = [chance.randrange(width) for _ in self.ridges]
        self.lines: list[Line] = []
        self._caption(caption, margin, unit)
        if text:
            block = len(setting.lines) * setting.line_height
            top = round(height * (0.47 if width >= height else 0.36) - block / 2)
            pause = min(0.30, frame_count / fps * 0.4 / max(1, len(setting.lines)))
            for index, words in enumerate(setting.lines):
                y = top + index * setting.line_height
                self.lines.append(_line(words, margin, y, setting.font_size, room[0], 0.08 + index * pause))
        self.ramp = Image.linear_gradient("L").rotate(270).resize((round(unit * 0.5), 1), Image.Resampling.BICUBIC)

    def _caption(self, text: str, margin: int, unit: int) -> None:
        size = max(10, round(unit * 0.026))
        y = margin if self.width >= self.height else round(margin * 1.6)
        y = min(y, round(self.height * 0.085))
        self.caption = (
            draw_text(text, size, 560).point(lambda level: int(level * 0.82)),
            (margin - size, y - round(size * 0.35)),
        )
        self.rule = (
            margin,
            y + round(size * 1.75),
            margin + round(unit * 0.055),
            y + round(size * 1.75) + max(2, unit // 300),
        )

    def landscape(self, number: int) -> Image.Image:
        """The scene without its words at its frame `number`."""
        left = min(number // self.sky_every, self.drift)
        picture = self.sky.crop((left, 0, left + self.width, self.height))
        for ridge, start in zip(self.ridges, self.start, strict=True):
            at = (start + number * ridge.speed) % (ridge.outline.width - self.width)
            picture.paste(
                ridge.colours, (0, ridge.top), ridge.outline.crop((at, 0, at + self.width, ridge.outline.height))
            )
        return picture

    def write(self, picture: Image.Image, number: int, frames_left: int | None) -> None:
        """Adds the words as they stand at frame `number`; they fade over the last frames of a scene, if one follows."""
        mask, place = self.caption
        picture.paste((255, 255, 255), place, mask)
        ImageDraw.Draw(picture).rectangle(self.rule, fill=(233, 196, 106))
        time = number / self.fps
        alpha = 1.0 if frames_left is None else min(1.0, frames_left / (LEAVE_SECONDS * self.fps))
        for line in self.lines:
            self._show(picture, line, (time - line.starts_at) / REVEAL_SECONDS, alpha)

    def _show(self, picture: Image.Image, line: Line, part: float, alpha: float) -> None:
        """Pastes a line, revealed from its first letter on; `part` is how far, 0 to 1."""
        if part <= 0 or alpha <= 0:
            return
        letters, shadow, y = line.letters, line.shadow, line.y
        if part < 1:
            eased = 1 - (1 - part) ** 3
            wipe = self._wipe(letters.size, eased, line.is_rtl)
            letters, shadow = ImageChops.multiply(letters, wipe), ImageChops.multiply(shadow, wipe)
            y += round((1 - eased) * line.size * 0.3)
        if alpha < 1:
            table = [round(level * alpha) for level in range(256)]
            letters, shadow = letters.point(table), shadow.point(table)
        picture.paste((4, 9, 16), (line.x, y + max(1, line.size // 30)), shadow)
        picture.paste((255, 255, 255), (line.x, y), letters)

    def _wipe(self, size: tuple[int, int], part: float, is_rtl: bool) -> Image.Image:
        """A mask that is open up to `part` of the width, with a soft edge."""
        soft = self.ramp.width
        edge = round((size[0] + soft) * part)
        row = Image.new("L", (size[0], 1), 0)
        row.paste(255, (0, 0, max(0, edge - soft), 1))
        row.paste(self.ramp, (edge - soft, 0))
        if is_rtl:
            row = row.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
        return row.resize(size)


def frames(prompt: str, seconds: int, size: tuple[int, int], fps: int) -> Iterator[Image.Image]:
    """Every frame of the storyboard, exactly seconds × fps of them, RGB, width × height."""
    width, height = size
    total = seconds * fps
    seed = int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:8])
    texts = scenes_of(readable(prompt), max(1, min(SCENES_MAX, round(seconds / SCENE_SECONDS))))
    count = len(texts)
    starts = [round(index * total / count) for index in range(count + 1)]
    fade = round(FADE_SECONDS * fps)
    step = 1 + seed % (len(PALETTES) - 1)
    before: Scene | None = None
    for index, text in enumerate(texts):
        start, end = starts[index], starts[index + 1]
        palette = PALETTES[(seed // 7 + index * step) % len(PALETTES)]
        caption = f"Scene {index + 1} of {count}" if count > 1 else "Storyboard"
        scene = Scene(text, caption, size, palette, seed + index, end - start + fade, fps)
        for number in range(end - start):
            picture = scene.landscape(number)
            if before and number < fade:
                leaving = before.landscape(start - starts[index - 1] + number)
                picture = Image.blend(leaving, picture, (number + 1) / (fade + 1))
            scene.write(picture, number, end - start - number - 1 if index + 1 < count else None)
            done = (start + number + 1) / total
            bar = max(2, min(size) // 240)
            ImageDraw.Draw(picture).rectangle((0, height - bar, round(width * done), height), fill=(233, 196, 106))
            yield picture
        before = scene
