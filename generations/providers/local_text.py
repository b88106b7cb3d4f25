"""Texts made on this machine from templates and the words of the prompt: scripts, and concepts for threads.

No language model is involved, and every text says so in its first line. Pure: the same inputs make the same text. What
is said follows the prompt, clause by clause; which templates say it follows from a hash of all inputs.

What is counted, and paid, are tokens: pieces of at most six letters of a Latin word, of at most three digits, and every
other character that is no space. On English that is about four tokens to three words, close to what vocabularies made
for language models count, and like theirs never more than one a byte of UTF-8.
"""

import hashlib
import json
import random
import re
import unicodedata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

TOKEN = re.compile(r"[A-Za-z\u00c0-\u024f]{1,6}|[0-9]{1,3}|\S")
DISCLOSURE = "Composed from templates on this machine, without a language model."
POST_LENGTH_MAX = 280
WORDS_A_SECOND = 2.8  # what can be said in an unhurried voice
SCENE_SECONDS = 6
SCENES_MIN, SCENES_MAX = 3, 10
SUBJECT_LENGTH_MAX = 48
TITLE_LENGTH_MAX = 60
POINT_LENGTH_MAX = 160
POINTS_LENGTH_MAX = 220  # of several in one post


@dataclass(frozen=True)
class Text:
    """What was made, and what is paid for it. Incomplete where it had to stop at the length that was asked for."""

    text: str
    input_tokens: int
    output_tokens: int
    is_complete: bool


def compose(operation: str, inputs: Mapping[str, Any]) -> Text:
    """The text of a script or a thread, at most `length_max` tokens of it."""
    whole = COMPOSERS[operation](Brief.of(operation, inputs), inputs)
    most = int(inputs["length_max"])
    text, is_complete = _first_tokens(whole, most)
    return Text(text, count_tokens(" ".join(map(str, inputs.values()))), count_tokens(text), is_complete)


def count_tokens(text: str) -> int:
    """How many tokens the text has."""
    return sum(1 for _ in TOKEN.finditer(text))


def _first_tokens(text: str, most: int) -> tuple[str, bool]:
    """The text up to its token number `most`, and whether that is all of it."""
    end = 0
    for number, token in enumerate(TOKEN.finditer(text), 1):
        if number > most:
            return text[:end], False
        end = token.end()
    return text, True


# What the prompt says


def _words_of(text: str) -> frozenset[str]:
    return frozenset(text.split())


STOPWORDS = _words_of(
    """
    about above across advert after again against all along also although always among and another any anyone
    anything are around because been before behind being below beneath between both but came can cannot come could
    did does doing done down during each either else even ever every everyone everything explainer few film for from
    get gets give goes going gone had has have having her here hers herself him himself his how into isn its itself
    just keep kind know less let like likes made make makes making many may maybe might mine more most much must
    need neither never new next nobody none nor not nothing now off often old once one only onto other others our
    ours out over own per please post posts put quite rather really same say says script seconds see shall she short
    should since some someone something soon still story such sure take than that the their theirs them themselves
    then there these they thing things this those though thread through too toward towards trailer two under until
    upon use very via video want wants was way well were what when where whether which while who whom whose why will
    with within without would write writes year yet you your yours
    """
)
FILLERS = ("time", "care", "people")  # to speak of where the prompt has too few words of its own
_REQUEST = re.compile(  # “Please write me a short advert about …”: what follows is the prompt
    r"^(?:please\s+|can you\s+|could you\s+|i (?:want|need|would like)\s+|we (?:want|need)\s+)*"
    r"(?:(?:to\s+)?(?:write|make|create|draft|compose|give|produce|prepare)\s+(?:me\s+|us\s+)?(?:[\w-]+\s+){0,4}?"
    r"|(?:an?|the|some)\s+(?:[\w-]+\s+){0,2}?)?"
    r"(?:script|advert|ad|advertisement|video|film|story|trailer|explainer|thread|posts?|concept)s?\s+"
    r"(?:about|for|on|of)\s+",
    re.IGNORECASE,
)
_SENTENCE_END = re.compile(r"(?<=[.!?;\u2026])\s+|[\n\u3002\uff01\uff1f\uff1b]+")
_CLAUSE_END = re.compile(r",\s+|\s+[\u2013\u2014-]\s+|:\s+|[\u3001\uff0c]")
_DETERMINERS = _words_of(
    """
    a an the my our your his her its their this these some every one two three
    """
)
_TURNS = _words_of(
    """
    that which who whom whose where because while so as is are was were has have had can will does with without for
    in on at from to by and but or
    """
)
_QUESTIONS = _words_of(
    """
    why how what when where who which whether if
    """
)


@dataclass(frozen=True)
class Brief:
    """The prompt, taken apart: what it is about, what it says of it, the words that matter, and its own luck."""

    subject: str  # to stand in a sentence: “a lighthouse”, “Lumen”
    title: str
    points: tuple[str, ...]
    words: tuple[str, ...]
    chance: random.Random

    @classmethod
    def of(cls, operation: str, inputs: Mapping[str, Any]) -> "Brief":
        asked = json.dumps([operation, inputs], sort_keys=True)
        chance = random.Random(hashlib.sha256(asked.encode()).digest())  # noqa: S311  (luck, not a secret)
        lines = "\n".join(clean(line) for line in str(inputs["prompt"]).splitlines())
        prompt = _REQUEST.sub("", lines.strip(), count=1) or lines
        points = list(_points(prompt)) or ["this idea"]
        subject = _subject(points[0])
        title = _capital(points[0] if len(points[0]) <= TITLE_LENGTH_MAX else _bare(subject))
        if _bare(subject).casefold() == points[0].casefold():
            points = points[1:]
        words = tuple(subject if word == subject.casefold() else word for word in _words(prompt))
        return cls(subject, title, tuple(points), words, chance)

    def some(self, of: Sequence[str]) -> Iterator[str]:
        """One after the other in an order of their own; none comes again before all have come."""
        last = None
        while True:
            order = self.chance.sample(of, len(of))
            if len(order) > 1 and order[0] == last:
                order.reverse()
            yield from order
            last = order[-1]

    def fill(self, template: str, word: str = "", audience: str = "") -> str:
        """The template with what the brief is about, and the word. Only our own templates are ever filled."""
        is_quoted = self.subject.startswith("\u201c")
        return template.format(
            it=self.subject,
            It=_capital(self.subject),
            thing=f"the words {self.subject}" if is_quoted else self.subject,
            title=self.title,
            word=word,
            Word=_capital(word),
            audience=audience,
        )


def clean(text: str) -> str:
    """The text on one line, without what cannot be stored or would turn what stands around it."""
    whole = unicodedata.normalize("NFC", text.encode("utf-16", "surrogatepass").decode("utf-16", "replace"))
    kept: list[str] = []
    marks = 0
    for character in whole:
        kind = unicodedata.category(character)
        marks = marks + 1 if kind in ("Mn", "Me") else 0
        if character.isspace() or kind in ("Cc", "Zl", "Zp"):
            kept.append(" ")
        # Joiners belong to words and emoji. Marks are heaped on one letter only to break out of the line.
        elif character in "\u200c\u200d" or (
            kind not in ("Cf", "Cs", "Co", "Cn") and character != "\ufffd" and marks < 5
        ):
            kept.append(character)
    return " ".join("".join(kept).split()).strip("\u200c\u200d ")


def _points(prompt: str) -> Iterator[str]:
    """The clauses of the prompt, in their order, without those that say nothing by themselves."""
    seen: set[str] = set()
    for sentence in _SENTENCE_END.split(prompt):
        parts = _CLAUSE_END.split(sentence) if len(sentence) > 60 or not seen else [sentence]
        for part in parts:
            point = re.sub(r"^(?:and|but|or|so)\s+", "", part.strip(' .!?;:,\u2026"\u201c\u201d'), flags=re.IGNORECASE)
            if point and point.casefold() not in seen and (" " in point or not seen):
                seen.add(point.casefold())
                yield _shortened(point, POINT_LENGTH_MAX)


def _subject(clause: str) -> str:
    """What the clause is about, as it can stand inside a sentence."""
    words = clause.split(" ")
    first = words[0].casefold()
    is_thing = first in _DETERMINERS or words[0][:1].isupper() or not words[0].isascii()
    if is_thing and first not in _QUESTIONS:
        start = 2 if first in _DETERMINERS else 1
        end = next((at for at, word in enumerate(words) if at >= start and word.casefold() in _TURNS), len(words))
        words = words[:end]
    short = _shortened(" ".join(words), SUBJECT_LENGTH_MAX)
    if first in _DETERMINERS:
        return short[0].lower() + short[1:]
    # A name stands as it is; anything else is quoted, so that it is a thing that can be spoken of.
    is_name = all(word[:1].isupper() or not word[:1].isalpha() for word in words) and len(words) <= 4
    return short if is_name and first not in _QUESTIONS else f"\u201c{_capital(short)}\u201d"


def _words(prompt: str) -> tuple[str, ...]:
    """The words that carry what is meant, each once, at most a dozen, at least three."""
    found: dict[str, str] = {}
    for match in re.finditer(r"[^\W\d_]{2,}", prompt):
        word = match[0][:20]
        if (len(word) >= 3 or not word.isascii()) and word.casefold() not in STOPWORDS:
            is_name = re.search(r"[\w,] $", prompt[max(match.start() - 2, 0) : match.start()]) is not None
            found.setdefault(word.casefold(), word if is_name else word.lower())
        if len(found) == 12:
            break
    return (*found.values(), *FILLERS)[: max(len(found), 3)]


def _bare(subject: str) -> str:
    return subject.strip("\u201c\u201d")


def _capital(text: str) -> str:
    at = 1 if text.startswith("\u201c") else 0
    return text[:at] + text[at : at + 1].upper() + text[at + 1 :]


def _shortened(text: str, length_max: int) -> str:
    """The text, or as many of its words as there is room for, and the sign that some are missing."""
    if len(text) <= length_max:
        return text
    cut = text[: length_max - 1]
    return (cut[: cut.rfind(" ")] if " " in cut[length_max // 2 :] else cut).rstrip(" ,.;:") + "\u2026"


def _ended(sentence: str) -> str:
    return sentence if sentence.endswith((".", "!", "?", "\u2026", "\u201d")) else f"{sentence}."


# Words that every text shares

LEADS = {
    "warm": (
        "Here is what we love.",
        "Look a little closer.",
        "And then there is this.",
        "It is kinder than it sounds.",
        "Take your time with this one.",
        "You will feel it.",
    ),
    "plain": (
        "The facts.",
        "What that means.",
        "In short.",
        "One more thing.",
        "To be clear.",
        "What you get.",
    ),
    "funny": (
        "Now the good bit.",
        "Plot twist.",
        "We checked twice.",
        "Not to brag.",
        "Hold your coffee.",
        "Yes, really.",
    ),
    "serious": (
        "Consider this.",
        "It matters.",
        "This is the point.",
        "Stay with it.",
        "Nothing here is by chance.",
        "Remember it.",
    ),
}

# Scripts

BEATS = {
    # the first scene, three kinds of scene between, the last scene
    "advert": (
        ("open", "First look"),
        ("need", "What was missing"),
        ("show", "What it does"),
        ("proof", "Why it holds"),
        ("end", "The invitation"),
    ),
    "explainer": (
        ("open", "The question"),
        ("need", "Why it matters"),
        ("show", "How it works"),
        ("proof", "An example"),
        ("end", "What to remember"),
    ),
    "story": (
        ("open", "Before"),
        ("need", "A wish"),
        ("show", "Trouble"),
        ("proof", "The turn"),
        ("end", "After"),
    ),
    "trailer": (
        ("open", "Quiet"),
        ("need", "The promise"),
        ("show", "The danger"),
        ("proof", "The rise"),
        ("end", "Title card"),
    ),
}

OPENINGS = {
    "advert": {
        "warm": ("Come closer. This is {it}.", "There you are. And here is {it}, at last."),
        "plain": ("This is {it}.", "{It}. Here is what it is for."),
        "funny": ("You did not know you wanted {it}. Surprise.", "Some people collect stamps. We made {it}."),
        "serious": ("{It}. Made to be relied on.", "Few things keep their word. We built {it}."),
    },
    "explainer": {
        "warm": ("Let us look at {it} together.", "You have wondered about {it}. So have we."),
        "plain": ("What is there to know about {it}?", "{It}, explained in a minute or less."),
        "funny": ("{It}. Nobody asked, so we will explain it.", "Everything about {it}, minus the boring parts."),
        "serious": ("It is worth understanding {it}.", "Before anything else: what is {it}, really?"),
    },
    "story": {
        "warm": ("It began, as good things do, with {it}.", "Nobody remembers that morning without {it}."),
        "plain": ("This is the story of {it}.", "One day there was {it}."),
        "funny": ("Nobody blamed {it} at first.", "It all went well until {it}."),
        "serious": ("Before it was over, there was {it}.", "They had lost everything but {it}."),
    },
    "trailer": {
        "warm": ("In a world too busy to look up: {it}.", "This year, make room for {it}."),
        "plain": ("Soon: {it}.", "One subject. {It}."),
        "funny": ("From people who really should know better: {it}.", "Finally, the film that nobody stopped: {it}."),
        "serious": ("There is no way back from {it}.", "When all is silent, there is {it}."),
    },
}

MIDDLES = {
    "advert": {
        "need": ("There was always something in the way.", "Every day asked for a little more than it gave.",
                 "You made do. Everybody does.", "It used to take too long."),
        "show": ("Now one small thing is different.", "{It} does its part, so that you can do yours.",
                 "No fuss. It simply works.", "You notice it first in the quiet."),
        "proof": ("Try it once and try to stop.", "It is there tomorrow as well.",
                  "Nothing hidden, nothing extra.", "Those who know it keep it close."),
    },
    "explainer": {
        "need": ("Most people meet {it} before they have a word for it.", "It touches more of the day than it seems.",
                 "Without it, the rest makes less sense.", "It is simpler than its name."),
        "show": ("It comes down to one step after another.", "First one part moves, then the next.",
                 "Take one piece away, and you see what it did.", "Follow it from the beginning."),
        "proof": ("Picture it on your own street.", "Think of the last time you saw it.",
                  "One example says more than ten rules.", "Now do it slowly, once."),
    },
    "story": {
        "need": ("She wanted only one thing.", "He had promised to come back.",
                 "They said it could not be done before winter.", "All they had was a plan on a napkin."),
        "show": ("Then the wind changed.", "It was later than they thought.",
                 "The door would not open.", "Nobody had told them about the last part."),
        "proof": ("And somebody stayed.", "It was the smallest thing that helped.",
                  "They laughed, and that was the turn.", "So they began again, differently."),
    },
    "trailer": {
        "need": ("Someone made a promise.", "They thought they were ready.",
                 "One chance was all they had.", "It was never meant to be found."),
        "show": ("But the night had other plans.", "Time is running out.",
                 "Not everyone wants it told.", "Some doors should stay shut."),
        "proof": ("They will not go quietly.", "Together, or not at all.",
                  "This is where it turns.", "Look again. Look harder."),
    },
}  # fmt: skip

ENDINGS = {
    "advert": {
        "warm": ("{It}. We saved you a place.", "{It}. Come as you are."),
        "plain": ("{It}. See for yourself.", "{It}. Ask for it today."),
        "funny": ("{It}. Your excuses will miss you.", "{It}. Side effects may include smiling."),
        "serious": ("{It}. Decide for yourself.", "{It}. When it counts."),
    },
    "explainer": {
        "warm": ("That is {it}. Tell someone you like.", "Now you know {it}, and it knows you."),
        "plain": ("That is {it}, in short.", "Remember one thing about {it}: begin small."),
        "funny": ("That is {it}. You may now correct people at parties.", "{It}: solved. Lunch is next."),
        "serious": ("That is {it}. What you do with it is yours.", "Keep {it} in mind. It will matter again."),
    },
    "story": {
        "warm": ("And {it} is still there. It waits for you.", "That is how {it} became ours."),
        "plain": ("So ended the story of {it}.", "And that was {it}."),
        "funny": ("They never spoke of {it} again. Until dinner.", "And {it}? It denies everything."),
        "serious": ("What is left is {it}.", "Some of it was lost. Not {it}."),
    },
    "trailer": {
        "warm": ("{It}. Bring someone.", "{It}. This season, with everyone you love."),
        "plain": ("{It}. Coming soon.", "{It}. Watch it."),
        "funny": ("{It}. Popcorn not included.", "{It}. Rated safe for aunts."),
        "serious": ("{It}. Only once.", "{It}. Be there when it begins."),
    },
}

SHOTS = (
    "Wide shot", "Close-up", "From above", "Over the shoulder", "Slow pan", "Hand-held, walking", "Still camera",
    "Through a window", "From the ground up", "Long tracking shot", "Out of focus, then sharp", "One unbroken take",
)  # fmt: skip
SIGHTS = {
    "open": (
        "{thing}, small in a large frame",
        "an empty place, and then {thing}",
        "hands that have just found {thing}",
    ),
    "need": (
        "someone who stops at the word \u201c{word}\u201d",
        "an ordinary day with a gap in it; a note says \u201c{word}\u201d",
        "a table of half-made plans, one of them about \u201c{word}\u201d",
        "a queue of people, each with their own idea of \u201c{word}\u201d",
    ),
    "show": (
        "{thing} at work; the detail to see is \u201c{word}\u201d",
        "\u201c{word}\u201d, larger than expected, then the whole of it",
        "a hand points at \u201c{word}\u201d and everything else falls still",
        "before on the left, after on the right; between them \u201c{word}\u201d",
    ),
    "proof": (
        "three faces in turn, each at the moment they understand \u201c{word}\u201d",
        "the same place as at first, changed by \u201c{word}\u201d",
        "{thing} again, used without a thought",
        "someone who shows \u201c{word}\u201d to a friend",
    ),
    "end": (
        "{thing}, alone in the frame, held for a breath",
        "the title, set large: {title}",
        "{thing} from afar, unhurried",
    ),
}
LIGHTS = (
    "in early light", "in flat noon light", "at dusk, lamps coming on", "in the rain", "with the sun behind",
    "in a warm room at night", "under a bright grey sky", "in candlelight", "just before a storm",
    "in clear winter light",
)  # fmt: skip
SOUNDS = {
    "warm": ("an old piano, close, with the pedal audible", "one acoustic guitar and a room that breathes"),
    "plain": ("a soft pulse, no melody", "the sounds of the place, nothing added"),
    "funny": ("pizzicato strings that lose their nerve", "a tuba with opinions, then silence on the punchline"),
    "serious": ("a single held cello note", "low drums, far away, and long pauses"),
}


def _script(brief: Brief, inputs: Mapping[str, Any]) -> str:
    """Scenes that follow each other without a gap and end at `seconds`, each with a picture and what is said in it."""
    kind, tone, seconds = inputs["kind"], inputs["tone"], int(inputs["seconds"])
    count = max(SCENES_MIN, min(SCENES_MAX, round(seconds / SCENE_SECONDS)))
    lengths = _lengths(seconds, count, brief.chance)
    first, *middle, last = BEATS[kind]
    beats = [first, *(middle[int((number + 0.5) * 3 / (count - 2))] for number in range(count - 2)), last]
    shots, lights, words = brief.some(SHOTS), brief.some(LIGHTS), brief.some(brief.words)
    leads, points = brief.some(LEADS[tone]), list(brief.points)
    lines_of = {
        first[0]: brief.some(OPENINGS[kind][tone]),
        **{beat: brief.some(MIDDLES[kind][beat]) for beat, _ in middle},
        last[0]: brief.some(ENDINGS[kind][tone]),
    }
    sights = {beat: brief.some(SIGHTS[beat]) for beat, _ in beats}
    lines = [
        f"*{DISCLOSURE}*",
        "",
        f"# {brief.title}",
        "",
        f"{kind.capitalize()} · {tone} · {seconds} s · {count} scenes",
        "",
    ]
    at = 0
    for number, ((beat, title), length) in enumerate(zip(beats, lengths, strict=True), 1):
        word = next(words)
        spoken = [brief.fill(next(lines_of[beat]))]
        if points and 1 < number < count and (len(points) >= count - number or brief.chance.random() < 0.7):
            point = _ended(_capital(points.pop(0)))
            spoken = [f"{next(leads)} {point}", point, *spoken]
        sight = brief.fill(next(sights[beat]), word)
        lines += [
            f"## {number}. {title} ({_clock(at)}\u2013{_clock(at + length)})",
            f"**Picture:** {next(shots)}: {sight}, {next(lights)}.",
            f"**Voice:** {_quoted(_spoken(spoken, length))}",
        ]
        if beat == "end" or (number % 3 == 2 and length >= 4):
            lines.append(f"**On screen:** {brief.title if beat == 'end' else _capital(word)}")
        lines.append("")
        at += length
    lines.append(f"**Sound:** {brief.chance.choice(SOUNDS[tone])}.")
    return "\n".join(lines) + "\n"


def _quoted(words: str) -> str:
    return "\u201c" + words.translate({0x201C: "\u2018", 0x201D: "\u2019"}) + "\u201d"


def _lengths(seconds: int, count: int, chance: random.Random) -> list[int]:
    """Whole seconds for each scene, at least two, that add up to all of them."""
    weights = [chance.randint(3, 5) for _ in range(count)]
    free = seconds - 2 * count
    ends = [round(free * sum(weights[: number + 1]) / sum(weights)) for number in range(count)]
    return [2 + end - start for start, end in zip([0, *ends], ends, strict=False)]


def _clock(seconds: int) -> str:
    return f"{seconds // 60}:{seconds % 60:02d}"


def _spoken(lines: Sequence[str], seconds: int) -> str:
    """The first of the lines that can be said in the time; the beginning of the last where none can."""
    most = int(seconds * WORDS_A_SECOND)
    for line in lines:
        if len(line.split()) <= most:
            return line
    return " ".join(lines[-1].split()[:most]).rstrip(" ,.;:") + "\u2026"


# Threads

HOOKS = {
    "warm": (
        "Pull up a chair, this one is for {audience}. It is about {it}, and it gets better as it goes.",
        "A small confession: we cannot stop thinking about {it}. A thread for {audience}.",
        "If you are reading this over breakfast: good. {It} deserves a quiet moment. For {audience}.",
    ),
    "plain": (
        "{It}: what it is, why it matters, and what to do next. A short thread for {audience}.",
        "Here is everything we would tell a friend about {it}. Written for {audience}.",
        "A few things about {it} that {audience} can use today.",
    ),
    "funny": (
        "Dear {audience}: nobody asked about {it}. So we did the only sensible thing and wrote a whole thread.",
        "Breaking news for {audience}: {it}. That is it, that is the news. (There is more.)",
        "We promised not to talk about {it} at dinner. This is not dinner. For {audience}.",
    ),
    "serious": (
        "It is time to speak about {it}. A thread for {audience}, without decoration.",
        "Most of what is said about {it} leaves out the important part. For {audience}:",
        "{It} will not wait for a better moment. What {audience} should know:",
    ),
}
BODIES = (
    "Start with one word: {word}. Say it aloud. Most of what follows is already in it.",
    "The mistake almost everyone makes is to look at {it} from the outside. Step in. Look for \u201c{word}\u201d.",
    "Ask the person next to you what \u201c{word}\u201d means to them. You will not get the answer you expect.",
    "What changes when you take \u201c{word}\u201d away? Try it for a day and write down what you miss.",
    "Three questions worth keeping: what is it for, who is it for, and what has \u201c{word}\u201d to do with it?",
    "Here is the part that nobody photographs: the waiting, the mending, the small work behind \u201c{word}\u201d.",
    "If you remember one post of this thread, take this one: begin with \u201c{word}\u201d, and begin small.",
    "There is an easy version of {it} and a true one. The true one has \u201c{word}\u201d in it.",
    "A picture for this post: {it}, no filter, early in the day. Caption: {word}.",
    "People ask how long it takes. The honest answer: as long as it takes to be at home with \u201c{word}\u201d.",
    "Do you know someone who should hear about \u201c{word}\u201d? Send them this one. We will wait.",
    "What we got wrong at first: we thought it was about {it}. It was about \u201c{word}\u201d.",
    "A small thing to do before tonight: find one example of \u201c{word}\u201d and tell us where.",
    "Yes, there is a catch. \u201c{Word}\u201d asks for patience. It gives something back for it.",
)
CALLS = {
    "warm": "Thank you for reading this far. If {it} means something to you, tell us below; we read every word.",
    "plain": "That is all. Save the thread, pass it on, and tell us below what you would add about {it}.",
    "funny": "You read a whole thread about {it}. You are one of us now. Tell one friend and blame the algorithm.",
    "serious": "What happens next with {it} depends on who speaks up. Share this, and say below where you stand.",
}


def _thread(brief: Brief, inputs: Mapping[str, Any]) -> str:
    """A hook, posts with their numbers, none above 280 characters with its number, a call to action, and hashtags."""
    tone, count = inputs["tone"], int(inputs["posts"])
    audience = _shortened(clean(inputs["audience"]), 60) or "everyone"
    points, bodies = list(brief.points), brief.some(BODIES)
    words, leads = brief.some(brief.words), brief.some(LEADS[tone])
    posts = [brief.fill(brief.chance.choice(HOOKS[tone]), audience=audience)]
    for number in range(1, count - 1):
        left = count - 2 - number
        if not points or (len(points) <= left and number % 2 == 0):
            posts.append(brief.fill(next(bodies), next(words)))
            continue
        said = [points.pop(0)]
        while len(points) > left and sum(map(len, said)) + len(points[0]) < POINTS_LENGTH_MAX:
            said.append(points.pop(0))
        posts.append(" ".join([next(leads), *(_ended(_capital(point)) for point in said)]))
    own = [word for word in brief.words if word not in FILLERS] or brief.words
    tags = " ".join(f"#{_capital(word)}" for word in own[:3])
    posts.append(brief.fill(CALLS[tone]))
    roles = ["Hook", *["Post"] * (count - 2), "Call to action"]
    lines = [f"*{DISCLOSURE}*", "", f"# {brief.title}", "", f"A thread for {audience} · {tone} · {count} posts", ""]
    for number, (role, post) in enumerate(zip(roles, posts, strict=True), 1):
        mark = f"{number}/{count} "
        ending = f" {tags}" if number == count else ""
        body = _shortened(post, POST_LENGTH_MAX - len(mark) - len(ending))
        lines += [f"**{role}**", f"{mark}{body}{ending}", ""]
    lines.append(f"**Picture for the hook:** {brief.fill(brief.chance.choice(SIGHTS['open']))}.")
    return "\n".join(lines) + "\n"


COMPOSERS = {"ai/script": _script, "ai/threads": _thread}
