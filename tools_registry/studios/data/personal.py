"""Personal data by its form: patterns, checksums where there are any, names of columns, words.

Checksums: IBAN by ISO 13616 (mod 97), cards by ISO/IEC 7812 (Luhn, and the issuers' lengths and first digits), the NHS
number by mod 11, the US social security number by the ranges never given out. UK National Insurance numbers have none:
their letters are held against HMRC's rules. Phone numbers are held against the national plans in libphonenumber.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from stdnum import iban, luhn
from stdnum.gb import nhs
from stdnum.us import ssn

from tools_registry.lazily import lazy

if TYPE_CHECKING:
    import phonenumbers
else:
    phonenumbers = lazy("phonenumbers")

Category = Literal["contact", "identity", "financial", "online", "location", "secret", "special"]
WEIGHTS: dict[Category, int] = {
    "online": 1,
    "contact": 1,
    "location": 2,
    "identity": 2,
    "financial": 3,
    "secret": 4,
    "special": 4,
}
"""How much harm each kind can do, 1 to 4; special: GDPR Art. 9 and 10."""


@dataclass(frozen=True, slots=True)
class Kind:
    """A kind of personal data. `strength`: how sure its form alone makes it, for a column full of it."""

    name: str
    title: str
    category: Category
    named: str = ""  # what its columns are called
    form: str = ""
    is_true: Callable[[str, str], bool] | None = None
    checked_by: str = ""
    strength: float = 0.0
    # Its form is too common to count without a name that says so.
    needs_name: bool = False
    perhaps: str = ""  # what its columns are called, and many others too: a race is also run, a condition also new
    words: str = ""  # what the values of a column called so say, if it is meant


def _card(text: str, region: str) -> bool:
    digits = re.sub(r"\D", "", text)
    two, four = int(digits[:2] or 0), int(digits[:4] or 0)
    length = len(digits)
    is_known = (
        (digits[:1] == "4" and length in (13, 16, 19))
        or ((51 <= two <= 55 or 2221 <= four <= 2720) and length == 16)
        or (two in (34, 37) and length == 15)
        or ((two in (60, 62, 64, 65, 81) or 3528 <= four <= 3589) and 16 <= length <= 19)
        or (two in (30, 36, 38, 39) and length == 14)
        or (two in (50, 56, 57, 58, 67, 63) and 12 <= length <= 19)
    )
    return is_known and len(set(digits)) > 1 and luhn.is_valid(digits)


def _iban(text: str, region: str) -> bool:
    return bool(iban.is_valid(text))


def _ssn(text: str, region: str) -> bool:
    return bool(ssn.is_valid(text))


def _nhs(text: str, region: str) -> bool:
    return bool(nhs.is_valid(text))


def _nino(text: str, region: str) -> bool:
    plain = re.sub(r"\W", "", text).upper()
    return plain[:2] not in {"BG", "GB", "NK", "KN", "TN", "NT", "ZZ"}


def _ip(text: str, region: str) -> bool:
    try:
        found = ipaddress.ip_address(text)
    except ValueError:
        return False
    return not (found.is_unspecified or found.is_loopback or found.is_multicast) and (
        found.version == 6 or text[0] != "0"
    )


def _phone(text: str, region: str) -> bool:
    if sum(one.isdigit() for one in text) < 7:
        return False
    try:
        return bool(phonenumbers.is_valid_number(phonenumbers.parse(text, region)))
    except phonenumbers.NumberParseException:
        return False


_WORD = r"(?:^|[_\s.-])"
_END = r"(?:$|[_\s.-])"


def _called(*words: str) -> str:
    return rf"{_WORD}(?:{'|'.join(words)}){_END}"


KINDS = (
    Kind(
        "email",
        "E-mail address",
        "contact",
        _called("e?-?mail", "email_?address", "mail"),
        r"[A-Za-z0-9.!#$%&'*+/=?^_`{|}~-]{1,64}@[A-Za-z0-9-]{1,63}(?:\.[A-Za-z0-9-]{1,63})*\.[A-Za-z]{2,24}",
        strength=0.97,
    ),
    Kind(
        "phone",
        "Phone number",
        "contact",
        _called(
            "phone",
            "tel",
            "telephone",
            "telefon",
            "mobile",
            "mobil",
            "handy",
            "cell",
            "fax",
            "msisdn",
            "phone_?(?:no|number)",
        ),
        r"(?<![\w.])(?:\+|00|\(?0)[\d\s().\-]{7,20}\d(?![\w.])"
        r"|(?<![\w.])\(\d{3}\) ?\d{3}-\d{4}(?!\w)|(?<![\w.-])\d{3}[-.]\d{3}[-.]\d{4}(?!\w)",
        _phone,
        "the national numbering plan",
        0.9,
    ),
    Kind(
        "iban",
        "Bank account (IBAN)",
        "financial",
        _called("iban", "bank_?account"),
        r"(?<!\w)[A-Z]{2}\d{2}(?: ?[A-Z0-9]{4}){2,7}(?: ?[A-Z0-9]{1,3})?(?!\w)",
        _iban,
        "mod 97",
        0.99,
    ),
    Kind(
        "card",
        "Payment card number",
        "financial",
        _called("card", "card_?(?:no|number)", "pan", "credit_?card"),
        r"(?<![\w.-])\d(?:[ -]?\d){11,18}(?![\w-])",
        _card,
        "Luhn and the issuers’ ranges",
        0.95,
    ),
    Kind(
        "uk_nino",
        "UK National Insurance number",
        "identity",
        _called("nino", "national_?insurance.*", "ni_?(?:no|number)"),
        r"(?<!\w)[A-CEGHJ-PR-TW-Za-ceghj-pr-tw-z][A-CEGHJ-NPR-TW-Za-ceghj-npr-tw-z]"
        r" ?\d{2} ?\d{2} ?\d{2} ?[A-Da-d](?!\w)",
        _nino,
        "HMRC’s rules for the letters",
        0.93,
    ),
    Kind(
        "us_ssn",
        "US social security number",
        "identity",
        _called("ssn", "social_?security.*"),
        r"(?<![\w-])\d{3}-\d{2}-\d{4}(?![\w-])",
        _ssn,
        "the ranges given out",
        0.93,
    ),
    Kind(
        "nhs_number",
        "NHS number",
        "special",
        _called("nhs", "nhs_?(?:no|number)"),
        r"(?<![\w.-])\d{3}[ -]?\d{3}[ -]?\d{4}(?![\w-])",
        _nhs,
        "mod 11",
        0.9,
        needs_name=True,
    ),
    Kind(
        "ip_address",
        "IP address",
        "online",
        _called("ip", "ip_?addr(?:ess)?", "client_?ip", "remote_?addr(?:ess)?"),
        r"(?<![\w.:])(?:\d{1,3}(?:\.\d{1,3}){3}|(?:[0-9a-fA-F]{1,4}:){2,7}[0-9a-fA-F]{0,4}(?::[0-9a-fA-F]{1,4}){0,6})(?![\w.:])",
        _ip,
        "the rules for addresses",
        0.92,
    ),
    Kind(
        "mac_address",
        "Device address (MAC)",
        "online",
        _called("mac", "mac_?addr(?:ess)?"),
        r"(?<![\w:-])[0-9A-Fa-f]{2}(?:[:-][0-9A-Fa-f]{2}){5}(?![\w:-])",
        strength=0.9,
    ),
    Kind(
        "uk_postcode",
        "Postcode",
        "location",
        _called("post_?code", "postal_?code", "zip", "zip_?code", "plz"),
        r"(?<!\w)(?:GIR 0AA|[A-PR-UWYZ](?:\d{1,2}|[A-HK-Y]\d|[A-HK-Y]\d\d|\d[A-HJKPSTUW]|"
        r"[A-HK-Y]\d[ABEHMNPRVWXY]) \d[ABD-HJLNP-UW-Z]{2})(?!\w)",
        strength=0.85,
    ),
    Kind(
        "address",
        "Postal address",
        "location",
        _called("address", "street", "addr", "address_?line.*", "house_?(?:no|number)", "strasse"),
        r"(?<!\w)\d{1,5}[A-Za-z]?,? (?:[A-Z][\w’'.-]+ ){1,4}(?:Street|St|Road|Rd|Avenue|Ave|Lane|Ln|Drive|Dr|Close|Way|"
        r"Court|Ct|Place|Pl|Square|Terrace|Crescent|Gardens|Boulevard|Blvd|Row|Hill|Mews)\b\.?",
        strength=0.85,
    ),
    Kind(
        "date_of_birth",
        "Date of birth",
        "identity",
        _called("dob", "birth", "birth_?da(?:te|y)", "date_?of_?birth", "born", "d_o_b", "geburtsdatum"),
        r"(?i)(?:born(?: on)?|date of birth|d\.?o\.?b\.?)[: ]{1,3}"
        r"(?:\d{1,2}[ /.-]\w{1,9}[ /.-]\d{2,4}|\d{4}-\d{2}-\d{2})",
        strength=0.9,
    ),
    Kind(
        "name",
        "Name of a person",
        "identity",
        _called(
            "(?:first|last|full|given|family|middle|maiden|customer|client|patient|employee|contact|user|person|sur)_?name",
            "forename",
            "surname",
            "name",
            "vorname",
            "nachname",
        ),
    ),
    Kind(
        "username",
        "User name",
        "online",
        _called("user_?name", "login", "user_?id", "screen_?name", "handle", "nick(?:name)?"),
    ),
    Kind(
        "device_id",
        "Device or cookie id",
        "online",
        _called("device_?id", "cookie(?:_?id)?", "idfa", "gaid", "imei", "session_?id", "advertising_?id"),
    ),
    Kind(
        "location",
        "Exact place",
        "location",
        _called("lat", "latitude", "lng", "lon", "long", "longitude", "gps", "geo.*", "coordinates"),
    ),
    Kind(
        "passport",
        "Passport or identity document",
        "identity",
        _called("passport(?:_?no|_?number)?", "id_?card", "driv(?:er|ing).*licen[cs]e.*", "licen[cs]e_?(?:no|number)"),
    ),
    Kind("tax_id", "Tax number", "identity", _called("tax_?(?:id|no|number)", "utr", "tin", "steuer.*")),
    Kind(
        "income",
        "Pay or income",
        "financial",
        _called("salary", "income", "wage", "pay", "net_?worth", "credit_?score", "bonus"),
    ),
    Kind(
        "bank_account",
        "Bank account",
        "financial",
        _called("account_?(?:no|number)", "sort_?code", "routing.*", "bic", "swift"),
    ),
    Kind("age", "Age or year of birth", "identity", _called("age", "year_?of_?birth", "birth_?year")),
    Kind("gender", "Gender", "identity", _called("gender", "sex")),
    Kind(
        "nationality",
        "Nationality",
        "identity",
        _called("nationality", "citizenship", "country_?of_?birth", "birth_?place"),
    ),
    Kind("photo", "Photo of a person", "identity", _called("photo", "portrait", "selfie", "avatar")),
    Kind(
        "secret",
        "Password or secret",
        "secret",
        _called("password", "passwd", "pwd", "pin", "secret", "security_?answer", "mother.*maiden.*", "cvv", "cvc"),
        r"(?i)(?:(?:pass(?:word|wd|phrase)|pwd|secret|api[_-]?key)[\"']?[ \t]{0,2}[:=][ \t]{0,2}[\"']?"
        r"(?=[^\s\"',;]{0,99}[\d!@#$%^&*])[^\s\"',;]{4,100}|bearer[ \t]{1,3}[A-Za-z0-9._~+/-]{16,400})",
        strength=0.8,
    ),
    Kind(
        "health",
        "Health (special category)",
        "special",
        _called(
            "health.*",
            "medical.*",
            "diagnos[ie]s",
            "disease",
            "illness",
            "medication",
            "symptoms?",
            "disabilit.*",
            "blood_?(?:type|group)",
            "allerg.*",
            "icd.*",
            "sick.*",
            "pregnan.*",
        ),
        r"(?i)(?<!\w)(?:diabet(?:es|ic)|asthma|cancer|leuk(?:a?e)mia|hiv|hepatitis|epilep(?:sy|tic)|depress(?:ion|ive)|"
        r"schizophreni[ac]|"
        r"bipolar disorder|anxiety disorder|chemotherapy|insulin|dementia|alzheimer(?:.s)?|parkinson(?:.s)?|"
        r"arthritis|hypertension|"
        r"pregnan(?:t|cy)|wheelchair|tumou?r|migraine|autis(?:m|tic)|miscarriage)(?!\w)",
        strength=0.8,
        perhaps=_called("condition", "drug", "treatment", "disabled"),
    ),
    Kind(
        "religion",
        "Religion or belief (special category)",
        "special",
        _called("religio.*", "faith"),
        r"(?i)(?<!\w)(?:roman catholic|catholic|protestant|muslim|islam(?:ic)?|jewish|hindu|sikh|"
        r"buddhist|atheist|jehovah.s witness|anglican|methodist)(?!\w)",
        strength=0.75,
        perhaps=_called("belief", "denomination", "church"),
    ),
    Kind(
        "ethnicity",
        "Racial or ethnic origin (special category)",
        "special",
        _called("ethnic.*", "racial.*", "skin_?colou?r", "caste"),
        r"(?i)(?<!\w)(?:white british|black african|black caribbean|african american|"
        r"hispanic or latino|caucasian|pakistani origin|mixed ethnicity|roma(?:ni)? origin)(?!\w)",
        strength=0.75,
        perhaps=_called("race", "tribe"),
        words=r"(?i)(?:non-?hispanic )?(?:white|black|asian|hispanic|latin[oax]|mixed|caucasian|arab|roma|indian|"
        r"chinese|african(?:[ -]american)?|native american|pacific islander|multiracial|two or more)\b.{0,40}",
    ),
    Kind(
        "politics",
        "Political opinion (special category)",
        "special",
        _called("politic.*", "party_?(?:member.*|affiliation)", "vote[sd]?_?for"),
        r"(?i)(?<!\w)(?:labour voter|conservative voter|republican voter|democrat voter|party member(?:ship)?)(?!\w)",
        strength=0.7,
        perhaps=_called("vote[sd]?", "voting.*", "party"),
        words=r"(?i)(?:labour|conservatives?|tory|liberal.*|democrats?|republicans?|greens?|snp|independent|reform.*)",
    ),
    Kind(
        "union",
        "Trade union membership (special category)",
        "special",
        _called("trade_?union", "union_?member.*"),
        r"(?i)(?<!\w)(?:trade union member|union rep(?:resentative)?|shop steward)(?!\w)",
        strength=0.75,
        perhaps=_called("union"),
    ),
    Kind(
        "sexuality",
        "Sex life or orientation (special category)",
        "special",
        _called("sexual.*"),
        r"(?i)(?<!\w)(?:heterosexual|homosexual|bisexual|lesbian|same-sex partner|transgender)(?!\w)",
        strength=0.75,
        perhaps=_called("orientation"),
        words=r"(?i)(?:straight|gay|bi|hetero|homo|queer|asexual|pansexual).{0,20}",
    ),
    Kind(
        "biometric",
        "Biometric or genetic (special category)",
        "special",
        _called(
            "biometric.*",
            "face_?(?:vector|print)",
            "voice_?print",
            "dna",
            "genom.*",
            "genetic.*",
        ),
        perhaps=_called("fingerprint", "iris", "retina", "face_?id"),
    ),
    Kind(
        "criminal",
        "Criminal record (GDPR Art. 10)",
        "special",
        _called("criminal.*", "conviction.*", "dbs", "arrest(?:s|ed)?"),
        r"(?i)(?<!\w)(?:convicted of|criminal conviction|served a sentence|arrested for)(?!\w)",
        strength=0.75,
        perhaps=_called("offen[cs]es?"),
    ),
)
BY_NAME = {one.name: one for one in KINDS}
NAMED = {one.name: re.compile(one.named, re.I) for one in KINDS if one.named}
PERHAPS = {one.name: re.compile(one.perhaps, re.I) for one in KINDS if one.perhaps}
WORDS = {one.name: re.compile(one.words) for one in KINDS if one.words}
# Names of things, as columns are called: product_name, file name
OF_A_THING = re.compile(
    r"(?i)(?:^|[_\s.-])(?:product|item|file|host|server|domain|brand|model|company|organi[sz]ation|org|business|supplier"
    r"|vendor|shop|store|city|town|country|county|state|region|street|place|site|event|table|column|field|database|schema"
    r"|project|team|department|role|job|task|step|service|app|application|package|module|class|function|method|metric"
    r"|category|group|type|currency|language|plan|bank|school|course|species|drug|test|sheet|folder|path|variable|feature"
    r"|device|channel|campaign|page|image|tag|label|status|layer|node|queue|topic|bucket)[_\s.-]name(?:$|[_\s.-])"
)
IS_A_VERSION = re.compile(r"(?i)(?:\b(?:version|release|build|firmware|ver)[ .:=/]{0,3}v?|(?<!\w)v)$")
FORMS = {one.name: re.compile(one.form) for one in KINDS if one.form}
# The commonest given names of England and Wales (ONS) and the United States (SSA), and some of their neighbours'.
_GIVEN = """
oliver george noah arthur harry leo muhammad jack charlie oscar jacob henry thomas freddie alfie theo william archie
joshua alexander james isaac edward lucas tommy finley max logan ethan mohammed teddy benjamin arlo joseph sebastian
harrison elijah adam daniel samuel louis mason reuben albie rory jaxon hugo luca zachary reggie hunter dylan toby
david jude frankie roman albert michael john robert richard charles christopher matthew anthony mark donald steven
paul andrew kenneth kevin brian timothy ronald jason edward jeffrey ryan gary nicholas eric jonathan stephen larry
justin scott brandon frank gregory raymond patrick peter olivia amelia isla ava mia ivy lily isabella rosie sophia
grace willow freya florence emily ella poppy evie elsie charlotte evelyn sienna sofia daisy phoebe sophie alice harper
matilda ruby emilia maya millie isabelle eva luna jessica ada aria arabella maisie esme eliza penelope mary patricia
jennifer linda elizabeth barbara susan sarah karen lisa nancy betty sandra margaret ashley kimberly donna michelle
carol amanda melissa deborah stephanie rebecca laura helen anna emma maria anne jane ben tom sam alex chris kate lucy
claire rachel hans klaus wolfgang stefan andreas juergen jürgen ursula petra sabine heike jean pierre marie françois
francois juan jose josé carlos luis ana carmen giovanni marco giulia wei ming li fatima ahmed ali omar aisha priya raj
ravi anita sunita yuki hiroshi ivan olga dmitri natasha
"""
GIVEN_NAMES = frozenset(_GIVEN.split())


def find_in_text(text: str, region: str) -> list[tuple[str, int, int]]:
    """Kind, start and end of everything of a known form in the text, the surest first where two overlap."""
    has_digit = any(one.isdigit() for one in text)
    found: list[tuple[float, str, int, int]] = []
    for name, form in FORMS.items():
        kind = BY_NAME[name]
        if not has_digit and kind.category != "special" and name not in ("email", "secret"):
            continue
        if name == "email" and "@" not in text:
            continue
        for match in form.finditer(text):
            said, before = match.group().strip(), text[max(0, match.start() - 25) : match.start()]
            if kind.needs_name and not re.search(r"(?i)\bnhs\b", before):
                continue
            if name == "ip_address" and IS_A_VERSION.search(before):
                continue
            if kind.is_true is None or kind.is_true(said, region):
                found.append((-kind.strength, name, match.start(), match.end()))
    kept: list[tuple[str, int, int]] = []
    for _, name, start, end in sorted(found):
        if all(end <= begin or start >= stop for _, begin, stop in kept):
            kept.append((name, start, end))
    return sorted(kept, key=lambda one: one[1])


def looks_like_a_name(value: str) -> bool:
    """Two to four capitalised words that begin with a common given name."""
    words = value.replace(",", " ").split()
    return (
        2 <= len(words) <= 4
        and all(word[:1].isupper() for word in words)
        and not any(one.isdigit() for one in value)
        and (words[0].casefold() in GIVEN_NAMES or ("," in value and words[-1].casefold() in GIVEN_NAMES))
    )


def masked(value: str) -> str:
    """The value's length and marks, and none of its letters and digits."""
    return "".join("•" if one.isalnum() else one for one in value[:60])
