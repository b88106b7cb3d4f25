"""Security metrics in the browser: the server's own figures, and what is wrong by its row."""

from playwright.sync_api import Browser

from tools_registry.studios.cyber.metrics import TOOL

from .bench import opened

PATCHES = "released,installed\n2026-01-01,2026-01-20\n2026-01-01,2026-03-01\n2026-01-01,\n"
REVIEWS = "due,done\n2026-01-31,2026-01-31 17:00\n2026-02-28,\n"


def test_the_figures_are_the_servers(browser: Browser) -> None:
    cases = [
        dict(TOOL.example),
        dict(TOOL.example) | {"as_of": "", "patches": PATCHES, "reviews": REVIEWS, "thresholds": []},
        dict(TOOL.example) | {"as_of": "2026-01-31", "critical_days": 5},
    ]
    assert TOOL.function is not None
    with opened(browser, "cyber/metrics") as half:
        for inputs in cases:
            shown = half.view(inputs)
            assert shown.problems == {}
            there = {
                one["title"]: one for one in TOOL.function(*TOOL.clean_with_files(inputs, {})).view if "rows" in one
            }
            for title in ("Measures", "Weaknesses by severity, in days", "By month"):
                assert shown.block(title)["rows"] == there[title]["rows"], title
            assert shown.fact("As of") == TOOL.function(*TOOL.clean_with_files(inputs, {})).result["as_of"]


def test_what_is_wrong_is_told_by_its_row(browser: Browser) -> None:
    with opened(browser, "cyber/metrics") as half:
        shown = half.view(
            {"incidents": "detected,resolved\n2026-01-05,2026-01-04\n2026-02-30,\n2026-01-01,2026-01-02\n"}
        )
        assert shown.problems == {"incidents": "Row 1: resolved is before detected."}
        assert [one[1] for one in shown.found("Cannot be read yet")] == [
            "Row 1: resolved is before detected.",
            "Row 2: detected: “2026-02-30” is no time. Write 2026-03-01 or 2026-03-01 14:30.",
        ]
        for odd in (
            None,
            {},
            [],
            {"incidents": 7, "thresholds": [None, 7]},
            {"incidents": "detected"},
            {"reviews": "due\n"},
        ):
            assert half.view(odd).blocks
