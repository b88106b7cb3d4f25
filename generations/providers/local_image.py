"""Pictures drawn on this machine: a landscape with what the words of the prompt name in it, and the words beneath.

No image model is involved. Pure: the same prompt, size and quality make the same picture, but for a little grain. It is
drawn at `scale` times its size and brought down, so that every edge is smooth.
"""

import hashlib
import math
import random
import re
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from PIL import Image, ImageChops, ImageDraw, ImageFilter

from generations.providers import storyboard
from generations.providers.storyboard import PALETTES, Colour, Palette, mix

Step = Callable[[], None]


@dataclass(frozen=True)
class Care:
    """How much work goes into a picture."""

    scale: int  # drawn so many times larger
    things: int  # at most so many of the things that the words name
    ridges: int
    has_light: bool  # haze, reflections, glows


QUALITIES = {
    "draft": Care(scale=1, things=2, ridges=2, has_light=False),
    "standard": Care(scale=2, things=4, ridges=4, has_light=False),
    "high": Care(scale=2, things=8, ridges=4, has_light=True),
}

# Palettes by the words that call for them; in this order, the first that is found counts.
SKIES = (
    (3, r"night|midnight|moon\w*|stars?|starry|dark\w*|space|galaxy|planets?|dream\w*"),
    (6, r"aurora|northern|polar|arctic|ice|icy|frozen|glacier"),
    (4, r"rain\w*|fog\w*|mist\w*|storm\w*|grey|gray|cloud\w*|winter|snow\w*"),
    (0, r"dawn|sunrise|daybreak|early"),
    (7, r"morning|spring|roses?|pink|bloom\w*|wedding"),
    (2, r"dusk|sunset|twilight|purple|neon|cyberpunk"),
    (5, r"evening|autumn|fall|desert|warm|fire|harvest|gold\w*"),
    (1, r"sea|ocean|beach|lagoon|tropic\w*|island\w*|harbou?r|coast|green|forest|jungle"),
)


def draw(prompt: str, size: tuple[int, int], quality: str, report: Callable[[int], None] | None = None) -> Image.Image:
    """The picture, RGB, exactly width × height. `report(percent)` is called now and then."""
    care = QUALITIES[quality]
    text = storyboard.readable(prompt)
    seed = int.from_bytes(hashlib.sha256(prompt.encode("utf-8", "surrogatepass")).digest()[:8])
    canvas = Canvas(size, care, _palette_of(text, seed), seed)
    wanted = _things_in(text, canvas.chance)[: care.things]
    steps: list[Step] = [
        *(partial(thing.draw, canvas) for thing in wanted if thing.place == "sky"),
        *_ground(canvas, wanted),
        *(partial(thing.draw, canvas) for thing in wanted if thing.place == "air"),
        canvas.soften,
        partial(canvas.write, text),
    ]
    for number, step in enumerate(steps, 1):
        step()
        if report:
            report(number * 98 // len(steps))
    return canvas.finished()


def _palette_of(text: str, seed: int) -> Palette:
    for index, words in SKIES:
        if re.search(rf"\b(?:{words})\b", text, re.IGNORECASE):
            return PALETTES[index]
    return PALETTES[seed % len(PALETTES)]


class Canvas:
    """The picture while it is drawn, at its larger scale, back to front."""

    def __init__(self, size: tuple[int, int], care: Care, palette: Palette, seed: int) -> None:
        self.size, self.care, self.palette = size, care, palette
        self.chance = random.Random(seed)  # noqa: S311  (a landscape, not a secret)
        self.width, self.height = size[0] * care.scale, size[1] * care.scale
        self.unit = min(self.width, self.height) / 100
        self.floor = round(self.height * 0.86)  # the landscape ends here; beneath is room for the words
        self.scene = storyboard.Scene("", "", (self.width, self.floor), palette, seed, 1, 24)
        self.picture = Image.new("RGB", (self.width, self.height), palette.land)
        self.picture.paste(self.scene.sky.crop((0, 0, self.width, self.floor)), (0, 0))
        self.ground = [round(self.floor * 0.8)] * self.width  # where the nearest land begins, by column

    def paint(self, colour: Colour, mask: Image.Image, part: float = 1.0) -> None:
        """The colour, where the mask is open, `part` of it."""
        if part < 1:
            mask = mask.point([round(level * part) for level in range(256)])
        self.picture.paste(colour, (0, 0), mask)

    def mask(self) -> tuple[Image.Image, ImageDraw.ImageDraw]:
        mask = Image.new("L", (self.width, self.height), 0)
        return mask, ImageDraw.Draw(mask)

    def ridge(self, index: int) -> None:
        """One line of hills, and what then is the ground."""
        ridge = self.scene.ridges[index]
        outline = ridge.outline.crop((0, 0, self.width, ridge.outline.height))
        self.picture.paste(ridge.colours, (0, ridge.top), outline)
        if ridge is self.scene.ridges[-1]:
            ImageDraw.Draw(self.picture).rectangle((0, self.floor, self.width, self.height), fill=self.palette.land)
        step = 8
        count = math.ceil(self.width / step)
        columns = outline.resize((count, outline.height), Image.Resampling.NEAREST).tobytes()
        for column in range(count):
            tops = (row for row in range(outline.height) if columns[row * count + column] > 127)
            self.ground[column * step : (column + 1) * step] = [ridge.top + next(tops, outline.height)] * step

    def ground_at(self, x: float) -> int:
        return self.ground[max(0, min(self.width - 1, round(x)))]

    def glow(self, x: float, y: float, radius: float, colour: Colour, part: float) -> None:
        side = max(2, round(radius * 2))
        disc = ImageChops.invert(Image.radial_gradient("L")).resize((side, side), Image.Resampling.BICUBIC)
        disc = disc.point([round(part * max(0, level - 76) / 179 * 255) for level in range(256)])
        self.picture.paste(colour, (round(x - radius), round(y - radius)), disc)

    def soften(self) -> None:
        """The edges of the picture are a little darker, and high quality has haze over its horizon."""
        if self.care.has_light:
            column = Image.new("L", (1, 128))
            for row in range(128):
                column.putpixel((0, row), round(86 * math.exp(-(((row / 127 - 0.62) / 0.07) ** 2))))
            self.paint(self.palette.sky[-1], column.resize((self.width, self.height), Image.Resampling.BICUBIC), 0.55)
        edge = Image.radial_gradient("L").resize((self.width, self.height), Image.Resampling.BICUBIC)
        self.paint((3, 6, 12), edge.point([round(max(0, level - 120) * 0.85) for level in range(256)]))

    def write(self, text: str) -> None:
        """The words of the prompt at the foot of the picture, on their own shade."""
        if not text:
            return
        margin = round(self.unit * 5)
        room = self.width - 2 * margin, round(self.height * 0.16)
        setting = storyboard.fit(text, *room, largest=round(self.unit * 5), smallest=round(self.unit * 2.2))
        height = len(setting.lines) * setting.line_height
        top = self.height - margin - height
        column = Image.new("L", (1, 64))
        for row in range(64):
            column.putpixel((0, row), round(214 * (row / 63) ** 1.4))
        shade_top = max(0, top - round(self.unit * 10))
        shade = column.resize((self.width, self.height - shade_top), Image.Resampling.BICUBIC)
        self.picture.paste(mix(self.palette.land, (0, 0, 0), 0.45), (0, shade_top), shade)
        rule = top - round(self.unit * 2.6)
        long = round(self.unit * 7)
        left = self.width - margin - long if storyboard.is_right_to_left(text) else margin
        ImageDraw.Draw(self.picture).rectangle(
            (left, rule, left + long, rule + max(2, round(self.unit * 0.5))), fill=(233, 196, 106)
        )
        for number, line in enumerate(setting.lines):
            letters = storyboard.draw_text(line, setting.font_size)
            left = margin - setting.font_size
            if storyboard.is_right_to_left(line):
                left = self.width - margin - letters.width + setting.font_size
            self.picture.paste(
                (255, 255, 255),
                (left, top + number * setting.line_height - round(setting.font_size * 0.35)),
                letters,
            )

    def finished(self) -> Image.Image:
        if self.care.scale == 1:
            return self.picture
        return self.picture.resize(self.size, Image.Resampling.LANCZOS)


# What can be in a picture ---------------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Thing:
    """Something that words name. It is drawn in the sky, far off, on the water, on the near land, or in the air."""

    words: str
    place: str
    draw: Callable[[Canvas], None] = field(repr=False)


def _things_in(text: str, chance: random.Random) -> list[Thing]:
    """The things that the text names, in the order in which it does; two of the plainest where it names none."""
    found: list[tuple[int, int]] = []
    for number, thing in enumerate(THINGS):
        match = re.search(rf"\b(?:{thing.words})\b", text, re.IGNORECASE)
        if match:
            found.append((match.start(), number))
    named = [THINGS[number] for _, number in sorted(found)]
    if any(thing.place != "water" for thing in named):
        return named
    plain = [thing for thing in THINGS if thing.draw in PLAIN]
    return named + chance.sample(plain, 2)


def _ground(canvas: Canvas, wanted: list[Thing]) -> list[Step]:
    """The land from far to near, with what stands on it; water takes the place of the nearer hills."""
    far, water, land = (
        [partial(thing.draw, canvas) for thing in wanted if thing.place == place] for place in ("far", "water", "land")
    )
    hills: list[Step] = [partial(canvas.ridge, index) for index in range(len(canvas.scene.ridges))]
    if water:
        return [*far, hills[0], partial(_water, canvas), *water, hills[-1], *land]
    if far or canvas.care.ridges < len(hills):
        return [hills[0], *far, hills[-1], *land]
    return [*hills, *land]


def _water(canvas: Canvas) -> None:
    """Water from the horizon down, with glints that are widest under the light."""
    top = round(canvas.floor * 0.74)
    sky, land = canvas.palette.sky, canvas.palette.land
    column = Image.new("RGB", (1, 64))
    for row in range(64):
        column.putpixel((0, row), mix(mix(sky[-1], sky[1], 0.35), mix(sky[0], land, 0.5), (row / 63) ** 0.7))
    canvas.picture.paste(column.resize((canvas.width, canvas.height - top), Image.Resampling.BICUBIC), (0, top))
    if canvas.care.has_light:
        above = canvas.picture.crop((0, max(0, 2 * top - canvas.height), canvas.width, top))
        mirrored = above.transpose(Image.Transpose.FLIP_TOP_BOTTOM).filter(ImageFilter.GaussianBlur(canvas.unit * 0.9))
        fade = Image.linear_gradient("L").resize(mirrored.size).point([round((255 - n) * 0.55) for n in range(256)])
        canvas.picture.paste(mirrored, (0, top), fade)
    mask, pen = canvas.mask()
    centre = canvas.width * canvas.chance.uniform(0.6, 0.8)
    for _ in range(90 if canvas.care.scale > 1 else 40):
        depth = canvas.chance.random() ** 1.6
        y = top + depth * (canvas.height - top)
        x = canvas.chance.gauss(centre, canvas.width * (0.08 + 0.22 * depth))
        half = canvas.unit * (1.0 + 5.0 * depth) * canvas.chance.uniform(0.4, 1.2)
        thick = max(1.0, canvas.unit * (0.12 + 0.28 * depth))
        pen.ellipse((x - half, y - thick / 2, x + half, y + thick / 2), fill=canvas.chance.randint(60, 200))
    canvas.paint(canvas.palette.light, mask, 0.8)


def _dark(canvas: Canvas, part: float = 0.35) -> Colour:
    return mix(canvas.palette.land, (0, 0, 0), part)


def _lighthouse(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.2, 0.36)
    foot = canvas.ground_at(x) + 2 * unit
    height = 34 * unit
    top = foot - height
    lamp = top - 2.2 * unit
    beam, pen = canvas.mask()
    far = canvas.width * 1.2
    for reach in (1, -1):
        pen.polygon(
            [
                (x, lamp - 0.4 * unit),
                (x + reach * far, lamp - 0.16 * far),
                (x + reach * far, lamp + 0.02 * far),
                (x, lamp + 0.4 * unit),
            ],
            fill=92 if reach > 0 else 46,
        )
    canvas.paint(canvas.palette.light, beam.filter(ImageFilter.GaussianBlur(unit * 0.8)))
    tower, pen = canvas.mask()
    pen.polygon(
        [(x - 3.4 * unit, foot), (x + 3.4 * unit, foot), (x + 2.0 * unit, top), (x - 2.0 * unit, top)], fill=255
    )
    canvas.paint((238, 234, 226), tower)
    bands, pen = canvas.mask()
    for band in range(3):
        y = top + height * (0.12 + 0.3 * band)
        pen.rectangle((x - 4 * unit, y, x + 4 * unit, y + height * 0.14), fill=255)
    canvas.paint((178, 52, 46), ImageChops.multiply(bands, tower))
    shade, pen = canvas.mask()
    pen.rectangle((x + 0.6 * unit, top, x + 4 * unit, foot), fill=90)
    canvas.paint(_dark(canvas), ImageChops.multiply(shade, tower))
    head, pen = canvas.mask()
    pen.rectangle((x - 2.8 * unit, top - 0.5 * unit, x + 2.8 * unit, top + 0.3 * unit), fill=255)
    pen.polygon(
        [(x - 2.0 * unit, lamp - 1.6 * unit), (x + 2.0 * unit, lamp - 1.6 * unit), (x, lamp - 4.2 * unit)], fill=255
    )
    pen.rectangle(
        (x - 1.7 * unit, lamp - 1.7 * unit, x + 1.7 * unit, top), outline=255, width=max(1, round(unit * 0.3))
    )
    canvas.paint(_dark(canvas), head)
    canvas.glow(x, lamp, 9 * unit, canvas.palette.light, 0.9)
    canvas.glow(x, lamp, 2.6 * unit, (255, 250, 230), 1.0)


def _boat(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.52, 0.72)
    y = canvas.floor * 0.80
    sail, pen = canvas.mask()
    pen.polygon(
        [(x + 0.6 * unit, y - 1.2 * unit), (x + 0.6 * unit, y - 14 * unit), (x + 8 * unit, y - 1.2 * unit)], fill=255
    )
    pen.polygon(
        [(x - 0.4 * unit, y - 1.2 * unit), (x - 0.4 * unit, y - 12 * unit), (x - 5 * unit, y - 1.2 * unit)], fill=225
    )
    canvas.paint((244, 240, 230), sail)
    hull, pen = canvas.mask()
    pen.polygon(
        [
            (x - 7 * unit, y - unit),
            (x + 9.4 * unit, y - unit),
            (x + 6.4 * unit, y + 2 * unit),
            (x - 5 * unit, y + 2 * unit),
        ],
        fill=255,
    )
    pen.line((x, y, x, y - 15 * unit), fill=255, width=max(1, round(unit * 0.35)))
    canvas.paint(_dark(canvas), hull)
    wake, pen = canvas.mask()
    for number in range(5):
        half = (8 - number) * unit
        pen.ellipse(
            (x - half, y + (2 + number * 0.8) * unit, x + half, y + (2.3 + number * 0.8) * unit), fill=150 - 25 * number
        )
    canvas.paint(canvas.palette.light, wake, 0.6)


def _birds(canvas: Canvas) -> None:
    unit = canvas.unit
    mask, pen = canvas.mask()
    left, top = canvas.chance.uniform(0.3, 0.55) * canvas.width, canvas.chance.uniform(0.2, 0.34) * canvas.floor
    for number in range(7):
        x = left + (number - 3) * 7 * unit + canvas.chance.uniform(-2, 2) * unit
        y = top + canvas.chance.uniform(-8, 8) * unit
        span, thick = canvas.chance.uniform(1.1, 2.4) * unit, max(1, round(unit * 0.34))
        for side in (-1, 1):
            box = (min(x, x + side * 2 * span), y - span * 0.7, max(x, x + side * 2 * span), y + span * 0.9)
            pen.arc(box, 200 if side < 0 else 190, 350 if side < 0 else 340, fill=235, width=thick)
    canvas.paint(_dark(canvas, 0.2), mask)


def _firs(canvas: Canvas) -> None:
    mask, pen = canvas.mask()
    unit = canvas.unit
    for _ in range(46 if canvas.care.scale > 1 else 22):
        x = canvas.chance.uniform(-0.02, 1.02) * canvas.width
        height = canvas.chance.uniform(6, 15) * unit
        foot = canvas.ground_at(x) + 2.5 * unit
        for part in range(3):
            y, half = foot - height * (0.1 + 0.26 * part), height * (0.22 - 0.05 * part)
            pen.polygon([(x - half, y), (x + half, y), (x, y - height * 0.42)], fill=255)
        pen.rectangle((x - 0.3 * unit, foot - height * 0.14, x + 0.3 * unit, foot), fill=255)
    canvas.paint(_dark(canvas, 0.25), mask)


def _tree(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.68, 0.82)
    foot = canvas.ground_at(x) + 2 * unit
    mask, pen = canvas.mask()
    pen.polygon(
        [
            (x - 1.3 * unit, foot),
            (x + 1.3 * unit, foot),
            (x + 0.5 * unit, foot - 17 * unit),
            (x - 0.5 * unit, foot - 17 * unit),
        ],
        fill=255,
    )
    for _ in range(34):
        angle, far = canvas.chance.uniform(0, math.tau), canvas.chance.random() ** 0.5
        cx, cy = x + math.cos(angle) * far * 8.5 * unit, foot - 21 * unit + math.sin(angle) * far * 6 * unit
        r = canvas.chance.uniform(1.6, 3.4) * unit
        pen.ellipse((cx - r, cy - r, cx + r, cy + r), fill=255)
    canvas.paint(_dark(canvas, 0.2), mask)


def _houses(canvas: Canvas) -> None:
    unit = canvas.unit
    walls, pen = canvas.mask()
    windows, light = canvas.mask()
    start = canvas.width * canvas.chance.uniform(0.46, 0.6)
    for number in range(3):
        x = start + number * canvas.chance.uniform(9, 11) * unit
        wide, high = canvas.chance.uniform(6, 8) * unit, canvas.chance.uniform(5, 8) * unit
        foot = max(canvas.ground_at(x), canvas.ground_at(x + wide)) + 2 * unit
        pen.rectangle((x, foot - high, x + wide, foot), fill=255)
        pen.polygon(
            [(x - unit, foot - high), (x + wide + unit, foot - high), (x + wide / 2, foot - high - 4.4 * unit)],
            fill=255,
        )
        pen.rectangle((x + wide * 0.72, foot - high - 4 * unit, x + wide * 0.86, foot - high), fill=255)
        for column in range(2):
            wx = x + wide * (0.2 + 0.4 * column)
            light.rectangle((wx, foot - high * 0.72, wx + wide * 0.2, foot - high * 0.36), fill=255)
    canvas.paint(_dark(canvas, 0.3), walls)
    canvas.paint((255, 214, 138), windows)
    if canvas.care.has_light:
        canvas.paint((255, 214, 138), windows.filter(ImageFilter.GaussianBlur(unit * 1.2)), 0.8)


def _city(canvas: Canvas) -> None:
    unit = canvas.unit
    walls, pen = canvas.mask()
    windows, light = canvas.mask()
    x = -2 * unit
    while x < canvas.width:
        wide = canvas.chance.uniform(4, 9) * unit
        middle = abs((x + wide / 2) / canvas.width - 0.55)
        high = canvas.chance.uniform(10, 20) * unit + max(0.0, 0.32 - middle) * 90 * unit
        foot = canvas.floor * 0.9
        top = foot - high
        pen.rectangle((x, top, x + wide, foot), fill=255)
        if canvas.chance.random() < 0.3:
            pen.line((x + wide / 2, top, x + wide / 2, top - 5 * unit), fill=255, width=max(1, round(unit * 0.3)))
        step = 1.5 * unit
        for row in range(int(high / step) - 1):
            for column in range(int(wide / step)):
                if canvas.chance.random() < 0.34:
                    wx, wy = x + (column + 0.35) * step, top + (row + 0.5) * step
                    light.rectangle((wx, wy, wx + step * 0.42, wy + step * 0.5), fill=canvas.chance.randint(130, 255))
        x += wide + canvas.chance.uniform(0, 1.2) * unit
    canvas.paint(mix(_dark(canvas, 0.1), canvas.palette.sky[1], 0.22), walls)
    canvas.paint((255, 222, 150), ImageChops.multiply(windows, walls))


def _mountains(canvas: Canvas) -> None:
    unit = canvas.unit
    base = canvas.floor * 0.84
    for number, (x, high, wide) in enumerate(((0.30, 44, 46), (0.66, 54, 52), (0.48, 34, 40))):
        cx = canvas.width * (x + canvas.chance.uniform(-0.05, 0.05))
        top = base - high * unit * min(1.0, canvas.floor / canvas.width)
        flank, half = base - top, wide * unit
        mask, pen = canvas.mask()
        pen.polygon([(cx - half, base), (cx, top), (cx + half, base)], fill=255)
        colour = mix(mix(canvas.palette.sky[-1], canvas.palette.sky[1], 0.5), canvas.palette.land, 0.30 + 0.12 * number)
        canvas.paint(colour, mask)
        dark, pen = canvas.mask()
        pen.polygon([(cx, top), (cx + half, base), (cx + half * 0.12, base)], fill=255)
        canvas.paint(_dark(canvas), dark, 0.28)
        snow, pen = canvas.mask()
        edge = [(cx, top)]
        for step in range(7):
            part = 0.3 * (1 if step % 2 else 0.62) * canvas.chance.uniform(0.85, 1.1)
            across = -1 + step / 3
            edge.append((cx + across * half * 0.26, top + flank * part))
        pen.polygon(edge, fill=235)
        canvas.paint((246, 248, 252), ImageChops.multiply(snow, mask))


def _balloons(canvas: Canvas) -> None:
    unit = canvas.unit
    for number, colour in enumerate(((200, 70, 60), (233, 176, 84), (74, 120, 150))):
        x = canvas.width * (0.2 + 0.24 * number + canvas.chance.uniform(-0.05, 0.05))
        y, r = canvas.floor * canvas.chance.uniform(0.18, 0.4), (7.5 - 1.7 * number) * unit
        mask, pen = canvas.mask()
        pen.ellipse((x - r, y - r, x + r, y + r), fill=255)
        pen.polygon(
            [
                (x - r * 0.86, y + r * 0.5),
                (x + r * 0.86, y + r * 0.5),
                (x + r * 0.2, y + r * 1.5),
                (x - r * 0.2, y + r * 1.5),
            ],
            fill=255,
        )
        canvas.paint(colour, mask)
        stripe, pen = canvas.mask()
        pen.ellipse((x - r * 0.42, y - r, x + r * 0.42, y + r), fill=255)
        canvas.paint(mix(colour, (255, 255, 255), 0.45), ImageChops.multiply(stripe, mask))
        basket, pen = canvas.mask()
        pen.rectangle((x - r * 0.17, y + r * 1.75, x + r * 0.17, y + r * 2.05), fill=255)
        for side in (-1, 1):
            pen.line(
                (x + side * r * 0.17, y + r * 1.5, x + side * r * 0.15, y + r * 1.8),
                fill=255,
                width=max(1, round(unit * 0.2)),
            )
        canvas.paint(_dark(canvas), basket)


def _clouds(canvas: Canvas) -> None:
    unit = canvas.unit
    mask, pen = canvas.mask()
    for _ in range(5):
        x, y = canvas.chance.uniform(0, 1) * canvas.width, canvas.chance.uniform(0.08, 0.42) * canvas.floor
        for _ in range(9):
            cx, cy = x + canvas.chance.gauss(0, 9) * unit, y + canvas.chance.gauss(0, 1.5) * unit
            rx, ry = canvas.chance.uniform(4, 9) * unit, canvas.chance.uniform(1.2, 2.6) * unit
            pen.ellipse((cx - rx, cy - ry, cx + rx, cy + ry), fill=190)
    canvas.paint(
        mix(canvas.palette.sky[-1], (255, 255, 255), 0.4), mask.filter(ImageFilter.GaussianBlur(unit * 1.3)), 0.75
    )


def _stars(canvas: Canvas) -> None:
    mask, pen = canvas.mask()
    for _ in range(260):
        x, y = canvas.chance.uniform(0, canvas.width), canvas.chance.uniform(0, 0.62) * canvas.floor
        r = canvas.chance.choice((0.08, 0.12, 0.2)) * canvas.unit
        pen.ellipse((x - r, y - r, x + r, y + r), fill=canvas.chance.randint(120, 255))
    canvas.paint((255, 255, 246), mask)


def _rain(canvas: Canvas) -> None:
    mask, pen = canvas.mask()
    for _ in range(420):
        x, y = canvas.chance.uniform(-0.1, 1.1) * canvas.width, canvas.chance.uniform(-0.1, 1) * canvas.height
        long = canvas.chance.uniform(2, 5) * canvas.unit
        pen.line(
            (x, y, x - long * 0.3, y + long),
            fill=canvas.chance.randint(60, 150),
            width=max(1, round(canvas.unit * 0.14)),
        )
    canvas.paint((226, 236, 244), mask)


def _snow(canvas: Canvas) -> None:
    mask, pen = canvas.mask()
    for _ in range(420):
        x, y = canvas.chance.uniform(0, canvas.width), canvas.chance.uniform(0, canvas.height)
        r = canvas.chance.choice((0.16, 0.24, 0.24, 0.42)) * canvas.unit
        pen.ellipse((x - r, y - r, x + r, y + r), fill=canvas.chance.randint(110, 250))
    canvas.paint((255, 255, 255), mask)


def _flowers(canvas: Canvas) -> None:
    unit = canvas.unit
    for colour in ((236, 110, 120), (246, 214, 120), (240, 236, 244)):
        mask, pen = canvas.mask()
        for _ in range(110):
            x = canvas.chance.uniform(0, canvas.width)
            ground = canvas.ground_at(x)
            y = ground + canvas.chance.random() ** 1.3 * (canvas.floor - ground)
            r = (0.25 + 0.8 * (y - ground) / max(1, canvas.floor - ground)) * unit
            for petal in range(5):
                px, py = x + math.cos(petal * 1.257) * r * 0.7, y + math.sin(petal * 1.257) * r * 0.6
                pen.ellipse((px - r * 0.5, py - r * 0.5, px + r * 0.5, py + r * 0.5), fill=235)
        canvas.paint(colour, mask)


def _person(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.44, 0.56)
    foot = canvas.ground_at(x) + 1.5 * unit
    mask, pen = canvas.mask()
    pen.ellipse((x - 0.95 * unit, foot - 10.4 * unit, x + 0.95 * unit, foot - 8.4 * unit), fill=255)
    pen.polygon(
        [
            (x - 1.5 * unit, foot - 8.1 * unit),
            (x + 1.5 * unit, foot - 8.1 * unit),
            (x + 1.1 * unit, foot - 3.6 * unit),
            (x - 1.1 * unit, foot - 3.6 * unit),
        ],
        fill=255,
    )
    for side in (-1, 1):
        pen.line(
            (x + side * 0.5 * unit, foot - 4 * unit, x + side * 0.9 * unit, foot), fill=255, width=round(0.9 * unit)
        )
        pen.line(
            (x + side * 1.3 * unit, foot - 7.7 * unit, x + side * 2.0 * unit, foot - 4.4 * unit),
            fill=255,
            width=round(0.6 * unit),
        )
    canvas.paint(_dark(canvas, 0.5), mask)


def _tent(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.3, 0.62)
    foot = canvas.ground_at(x) + 3 * unit
    mask, pen = canvas.mask()
    pen.polygon([(x - 8 * unit, foot), (x, foot - 10 * unit), (x + 8 * unit, foot)], fill=255)
    canvas.paint((226, 142, 74), mask)
    door, pen = canvas.mask()
    pen.polygon([(x - 2.4 * unit, foot), (x, foot - 9 * unit), (x + 2.4 * unit, foot)], fill=255)
    canvas.paint((255, 232, 170), door)
    canvas.glow(x, foot - 2 * unit, 13 * unit, (255, 214, 138), 0.5)


def _lamp(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.66, 0.78)
    foot = canvas.ground_at(x) + 2 * unit
    mask, pen = canvas.mask()
    pen.rectangle((x - 0.35 * unit, foot - 19 * unit, x + 0.35 * unit, foot), fill=255)
    pen.polygon(
        [
            (x - 2.6 * unit, foot - 19 * unit),
            (x + 2.6 * unit, foot - 19 * unit),
            (x + 1.2 * unit, foot - 22 * unit),
            (x - 1.2 * unit, foot - 22 * unit),
        ],
        fill=255,
    )
    canvas.paint(_dark(canvas, 0.5), mask)
    canvas.glow(x, foot - 18 * unit, 15 * unit, (255, 214, 138), 0.8)
    canvas.glow(x, foot - 18 * unit, 3 * unit, (255, 246, 214), 1.0)


def _cup(canvas: Canvas) -> None:
    unit, x = canvas.unit, canvas.width * canvas.chance.uniform(0.3, 0.5)
    foot = canvas.floor * 0.84
    mask, pen = canvas.mask()
    pen.polygon(
        [
            (x - 9 * unit, foot - 14 * unit),
            (x + 9 * unit, foot - 14 * unit),
            (x + 6.4 * unit, foot),
            (x - 6.4 * unit, foot),
        ],
        fill=255,
    )
    pen.ellipse((x - 9 * unit, foot - 16 * unit, x + 9 * unit, foot - 12 * unit), fill=255)
    pen.ellipse((x - 6.4 * unit, foot - 1.6 * unit, x + 6.4 * unit, foot + 1.6 * unit), fill=255)
    pen.arc(
        (x + 5 * unit, foot - 12 * unit, x + 14 * unit, foot - 3 * unit), 250, 130, fill=255, width=round(1.5 * unit)
    )
    canvas.paint((242, 238, 230), mask)
    inside, pen = canvas.mask()
    pen.ellipse((x - 7.6 * unit, foot - 15.4 * unit, x + 7.6 * unit, foot - 12.5 * unit), fill=255)
    canvas.paint((84, 50, 34), inside)
    steam, pen = canvas.mask()
    for number in range(3):
        points = [
            (x + (number - 1) * 4 * unit + math.sin(step / 2.2 + number) * 1.5 * unit, foot - (17 + step * 1.1) * unit)
            for step in range(15)
        ]
        pen.line(points, fill=130, width=round(1.1 * unit), joint="curve")
    canvas.paint((255, 255, 255), steam.filter(ImageFilter.GaussianBlur(unit * 0.7)))


def _nothing(canvas: Canvas) -> None:
    """Water is drawn with the land."""


THINGS = (
    Thing(r"stars?|starry|night|space|galaxy", "sky", _stars),
    Thing(r"clouds?|cloudy|sky|fog|mist", "sky", _clouds),
    Thing(r"mountains?|peaks?|alps|summits?|everest|volcano(?:es)?|hiking", "far", _mountains),
    Thing(r"city|cities|town|skyline|skyscrapers?|office|downtown|metropolis|streets?", "far", _city),
    Thing(r"sea|ocean|water|waves?|lake|river|harbou?r|beach|coast|bay|island|tide|gulls?", "water", _nothing),
    Thing(r"boats?|ships?|sail\w*|yachts?|ferry|fishing", "water", _boat),
    Thing(r"lighthouses?|beacon|towers?", "land", _lighthouse),
    Thing(r"forests?|woods?|firs?|pines?|christmas|jungle|wilderness", "land", _firs),
    Thing(r"trees?|oak|orchard|park|garden|apples?|shade", "land", _tree),
    Thing(r"houses?|home|village|cottages?|bakery|shop|farm|school|hotel|cabin|caf[eé]", "land", _houses),
    Thing(r"tents?|camp\w*|festival", "land", _tent),
    Thing(r"lamps?|lanterns?|lights?|lumen|bulbs?", "land", _lamp),
    Thing(r"coffee|tea|cups?|mugs?|cocoa|espresso|breakfast", "land", _cup),
    Thing(r"flowers?|roses?|meadow|tulips?|blossoms?|spring|daisies|wedding", "land", _flowers),
    Thing(r"person|people|man|woman|girl|boy|child|children|friends?|hikers?|sisters?|brothers?", "land", _person),
    Thing(r"balloons?|airships?|holidays?|party|birthday|adventure", "air", _balloons),
    Thing(r"birds?|gulls?|seagulls?|swallows?|flock|freedom|doves?|cranes?", "air", _birds),
    Thing(r"rain\w*|storm\w*|umbrellas?|wet", "air", _rain),
    Thing(r"snow\w*|winter|blizzard|christmas|skiing|ice", "air", _snow),
)  # fmt: skip
PLAIN = (_birds, _firs, _tree, _houses, _clouds)
