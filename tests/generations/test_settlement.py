"""settlement.decide as a table: every shipped rule, which of several rules wins, and what no rule knows."""

from dataclasses import dataclass, field
from uuid import UUID, uuid4

import pytest

from generations.settlement import ANY, SHIPPED_RULES, Decision, decide


@dataclass
class Rule:
    phase: str
    status: str = ANY
    code: str = ANY
    outcome: str = "keep"
    provider: str = ANY
    operation: str = ANY
    provider_bills: str = "unknown"
    sentence: str = ""
    alerts_staff: bool = False
    version: int = 1
    id: UUID = field(default_factory=uuid4)


SHIPPED = [Rule(**rule) for rule in SHIPPED_RULES]  # type: ignore[arg-type]


def shipped(phase: str, status: str, code: str | None = None) -> Decision:
    return decide(SHIPPED, phase=phase, provider="rehearsal", operation="ai/video", status=status, code=code)


# phase, status, code → outcome, whether the provider bills us, whether staff are alerted
TABLE = [
    ("poll", "completed", None, "capture", "yes", False),
    ("poll", "failed", "moderation_blocked", "release", "unknown", False),
    ("poll", "failed", "invalid_request", "release", "unknown", False),
    ("poll", "failed", "whatever_else", "release", "unknown", False),
    ("poll", "failed", None, "release", "unknown", False),
    ("poll", "cancelled", None, "release", "no", False),
    ("poll", "incomplete", "max_output_tokens", "capture", "yes", False),
    ("poll", "incomplete", "content_filter", "release", "unknown", False),
    ("poll", "queued", None, "keep", "unknown", False),
    ("poll", "in_progress", None, "keep", "unknown", False),
    *(("poll", status, None, "keep", "unknown", False) for status in ("401", "403", "404", "429")),
    *(("poll", status, None, "keep", "unknown", False) for status in ("500", "502", "503", "504", "599")),
    *(("poll", status, None, "keep", "unknown", False) for status in ("timeout", "network", "garbage")),
    *(("submit", status, None, "release", "no", False) for status in ("400", "404", "413", "422")),
    ("submit", "400", "moderation_blocked", "release", "unknown", False),
    *(("submit", status, "billing_hard_limit", "release", "no", True) for status in ("401", "402", "403")),
    ("submit", "429", None, "keep", "no", False),
    *(("submit", status, None, "keep", "unknown", False) for status in ("500", "503", "timeout", "network", "garbage")),
]


@pytest.mark.parametrize(("phase", "status", "code", "outcome", "bills", "alerts"), TABLE)
def test_shipped_rules(phase: str, status: str, code: str | None, outcome: str, bills: str, alerts: bool) -> None:
    found = shipped(phase, status, code)
    assert found.rule is not None
    assert (found.outcome, found.provider_bills, found.rule.alerts_staff) == (outcome, bills, alerts)
    assert found.is_final == (outcome != "keep")
    assert found.sentence == found.rule.sentence
    assert found.sentence.endswith(".")


def test_the_table_has_every_shipped_rule() -> None:
    followed = {found.rule.id for row in TABLE if (found := shipped(*row[:3])).rule is not None}  # type: ignore[attr-defined]
    assert followed == {rule.id for rule in SHIPPED}


@pytest.mark.parametrize(
    ("phase", "status", "code"),
    [
        ("poll", "transmogrified", None),
        ("poll", "", None),
        ("poll", "COMPLETED", None),
        ("poll", "any", "x"),
        ("poll", "5xx0", None),
        ("poll", "50", None),
        ("poll", "5000", None),
        ("poll", "5०3", None),
        ("poll", "200", None),
        ("poll", "400", None),
        ("poll", "incomplete", None),
        ("poll", "incomplete", "tired"),
        ("submit", "completed", None),
        ("submit", "418", None),
        ("neither", "completed", None),
    ],
)
def test_what_no_rule_knows_keeps_the_hold(phase: str, status: str, code: str | None) -> None:
    assert shipped(phase, status, code) == Decision("keep", None, "", "unknown")


def test_nothing_is_decided_without_rules() -> None:
    assert decide([], phase="poll", provider="p", operation="o", status="completed", code=None).outcome == "keep"


def winner(*rules: Rule, status: str = "failed", code: str | None = "moderation_blocked") -> str:
    asked = {"phase": "poll", "provider": "openai", "operation": "ai/video", "status": status, "code": code}
    found = {decide(order, **asked).sentence for order in (rules, rules[::-1])}  # type: ignore[arg-type]
    assert len(found) == 1, "the order of the rows decided"
    return found.pop()


def of(sentence: str, **columns: str) -> Rule:
    return Rule("poll", sentence=sentence, **columns)  # type: ignore[arg-type]


STATUS, CODE = {"status": "failed"}, {"code": "moderation_blocked"}
OPERATION, PROVIDER = {"operation": "ai/video"}, {"provider": "openai"}


@pytest.mark.parametrize(
    ("specific", "general"),
    [
        (STATUS, {}),
        (STATUS | CODE, STATUS),
        (STATUS | CODE | PROVIDER, STATUS | CODE),
        (STATUS | PROVIDER, STATUS),
        (STATUS | OPERATION, STATUS),
        (STATUS | OPERATION | PROVIDER, STATUS | CODE),
        # As many exact columns: code before status before operation before provider.
        (CODE, STATUS),
        (STATUS, OPERATION),
        (OPERATION, PROVIDER),
        (STATUS | CODE, STATUS | PROVIDER),
        (STATUS | OPERATION, STATUS | PROVIDER),
    ],
)
def test_the_most_specific_rule_wins(specific: dict[str, str], general: dict[str, str]) -> None:
    assert winner(of("specific", **specific), of("general", **general)) == "specific"


def test_a_rule_for_its_own_server_error_wins_over_5xx() -> None:
    rules = of("all", status="5xx"), of("this", status="529")
    assert winner(*rules, status="529", code=None) == "this"
    assert winner(*rules, status="500", code=None) == "all"


def test_a_rule_of_another_provider_operation_or_phase_is_not_followed() -> None:
    others = (
        of("provider", status="failed", provider="comfyui"),
        of("operation", status="failed", operation="ai/image"),
        of("code", status="failed", code="other"),
        Rule("submit", "failed", sentence="phase"),
    )
    assert winner(*others) == ""
    assert winner(*others, of("ours", status="failed")) == "ours"


def test_a_rule_with_a_code_does_not_speak_for_an_answer_without_one() -> None:
    assert winner(of("code", status="failed", code="moderation_blocked"), code=None) == ""
