"""Statements count for the controls that they name or are about; coverage by hand; every id is the framework's."""

import json
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.pace import within_cpu
from tools_registry.studio import BadInput
from tools_registry.studios.cyber import frameworks
from tools_registry.studios.cyber.compliance import EVIDENCE, TOOL, _evidence_kind

from .tabular import example, file, run

DAY = {"day": "2026-11-21"}


def analyse(*controls, **more):
    rows = [{"statement": one} if isinstance(one, str) else one for one in controls]
    return run(TOOL, DAY | {"controls": rows} | more)


def about(result, statement_place: str = "Row 1") -> dict[str, bool]:
    return {
        one["control"]: by["named"]
        for one in result.result["controls"]
        for by in one["by"]
        if by["place"] == statement_place
    }


# The frameworks


def test_the_catalogues_are_whole() -> None:
    """Counts: NIST CSWP 29 (106 in 22 categories), SP 800-53B (149 in the low baseline), ISO (37, 8, 14, 34)."""
    csf, low, iso = (frameworks.framework(key) for key in frameworks.FRAMEWORKS)
    assert (len(csf.controls), len(csf.groups)) == (106, 22)
    assert (len(low.controls), len(low.groups)) == (149, 18)
    counts = [sum(1 for one in iso.controls.values() if one.group == group) for group in iso.groups]
    assert counts == [37, 8, 14, 34]
    assert csf.controls["PR.DS-11"].title == "Backups of data are created, protected, maintained, and tested"
    assert low.controls["IA-2(1)"].title.endswith("Multi-factor Authentication to Privileged Accounts")
    assert not {"ID.AM-06", "PR.AC-01", "RC.CO-01"} & set(csf.controls)  # withdrawn from version 1.1


def test_every_id_of_a_theme_is_one_of_its_framework() -> None:
    for theme in frameworks.THEMES:
        for key, ids in theme.ids.items():
            assert set(ids) <= set(frameworks.framework(key).controls), theme.name


@pytest.mark.parametrize(
    ("key", "written", "number"),
    [
        ("nist_csf_2_0", "pr.aa-1", "PR.AA-01"),
        ("nist_csf_2_0", "ID.RA-10", "ID.RA-10"),
        ("nist_800_53_low", "ac-02", "AC-2"),
        ("nist_800_53_low", "IA-2 (1)", "IA-2(1)"),
        ("nist_800_53_low", "ia-2.1", "IA-2(1)"),
        ("iso_27001_annex_a", "5.1", "A.5.1"),
        ("iso_27001_annex_a", "a 8.13", "A.8.13"),
        ("iso_27001_annex_a", "A.9.1", None),
    ],
)
def test_ids_are_found_however_they_are_spelled(key: str, written: str, number: str | None) -> None:
    found = frameworks.framework(key).find(written)
    assert (found.id if found else None) == number


# What counts for what


@pytest.mark.parametrize(
    ("statement", "control"),
    [
        ("Everyone signs in with MFA", "PR.AA-03"),
        ("Daily backups are restored as a test", "PR.DS-11"),
        ("A SIEM alerts our SOC", "DE.CM-09"),
        ("Firewalls between our VLANs", "PR.IR-01"),
        ("Yearly security awareness training", "PR.AT-01"),
        ("Critical patches within a week", "PR.PS-02"),
        ("Vendors are assessed before we sign", "GV.SC-06"),
    ],
)
def test_a_statement_is_matched_by_its_words_and_says_why(statement: str, control: str) -> None:
    result = analyse(statement)
    assert about(result)[control] is False
    assert next(one for one in result.result["controls"] if one["control"] == control)["by"][0]["why"]


def test_an_id_counts_for_that_control_alone() -> None:
    result = analyse({"statement": "Backups and MFA and firewalls", "control": "PR.DS-11; pr.aa-3"})
    assert about(result) == {"PR.DS-11": True, "PR.AA-03": True}
    assert about(analyse("We meet PR.DS-11 with nightly copies")) == {"PR.DS-11": True}


def test_without_suggestions_only_ids_count() -> None:
    result = analyse("Everyone signs in with MFA", with_suggestions=False).result
    assert result["summary"]["coverage_percent"] == 0
    assert result["unmatched"] == [{"place": "Row 1", "statement": "Everyone signs in with MFA"}]


def test_the_example_by_hand() -> None:
    """Weights of all 106: 258, PR.AA twice. In place: 6 + 6 + 3; half of 6 + 3 + 3 + 3 + 3. 24 ÷ 258 = 9.3 %.
    Evidence: 6 × 0.8 + 6 × 0 + 3 × 1 + 9 × 0.5 = 12.3 ÷ 258 = 4.8 %. By id: 6 + 3 = 9 ÷ 258 = 3.5 %."""
    summary = example(TOOL).result["summary"]
    assert summary["coverage_percent"] == 9.3
    assert summary["evidenced_percent"] == 4.8
    assert summary["confirmed_percent"] == 3.5
    assert summary["maturity"] == 1


def test_what_does_not_apply_is_left_out_of_the_whole() -> None:
    one = {"statement": "Ours", "control": "A.7.1", "status": "implemented", "evidence": "audited"}
    other = {"statement": "No offices", "control": "A.7.2", "status": "not_applicable", "evidence": "All work at home"}
    result = analyse(one, other, framework="iso_27001_annex_a").result
    (group,) = [one for one in result["groups"] if one["group"] == "A.7"]
    assert (group["not_applicable"], group["coverage_percent"]) == (1, 7.7)  # 1 of 13
    assert len(result["gaps"]) == 91


def test_named_beats_suggested_and_statements_that_disagree_are_told() -> None:
    result = analyse(
        {"statement": "MFA for all", "status": "implemented"},
        {"statement": "MFA", "control": "PR.AA-03", "status": "not_implemented"},
    ).result
    assert next(one["status"] for one in result["controls"] if one["control"] == "PR.AA-03") == "not_implemented"
    both = analyse(
        {"statement": "MFA", "control": "PR.AA-03"}, {"statement": "x", "control": "PR.AA-03", "status": "planned"}
    ).result
    assert "Statements about PR.AA-03 disagree" in [one["title"] for one in both["findings"]]


@pytest.mark.parametrize(
    ("said", "kind"),
    [
        ("", "none"),
        ("n/a", "none"),
        ("We do", "said"),
        ("Backup policy v3", "document"),
        ("Ticket OPS-311", "record"),
        ("Restore tested in May, ticket OPS-311", "test"),
        ("Audit trail export", "record"),
    ],
)
def test_evidence_is_weighed_by_its_words(said: str, kind: str) -> None:
    assert _evidence_kind(said) == kind
    assert kind in EVIDENCE


def test_focus_moves_the_roadmap() -> None:
    first = analyse("MFA").result["gaps"][0]["control"]
    other = analyse("MFA", focus=["rc.co"]).result["gaps"][0]["control"]
    assert not first.startswith("RC.CO")
    assert analyse("MFA", focus=["PR.AA"]).result["gaps"][0]["control"].startswith("PR.AA")
    assert other != first or analyse("MFA", focus=["PR.AA"]).result != analyse("MFA", focus=["RC.CO"]).result


def test_a_csv_is_read_with_the_words_people_use() -> None:
    written = (
        "Statement,Control ID,Status,Evidence,Owner\nMFA,PR.AA-03,Yes,export,Ada\nPlan,,To do,,\nNo cards,,N/A,none,\n"
    )
    result = run(TOOL, DAY, document=("c.csv", written.encode())).result
    control = next(one for one in result["controls"] if one["control"] == "PR.AA-03")
    assert (control["status"], control["evidence"], control["by"][0]["place"]) == ("implemented", "record", "Line 2")


@pytest.mark.parametrize(
    ("inputs", "document", "field", "sentence"),
    [
        ({}, None, "controls", "State at least one control"),
        ({"day": "soon"}, None, "day", "“soon” is no day."),
        ({"controls": [{"statement": "x", "control": "ZZ-9"}]}, None, "controls.0.control", "has no control ZZ-9."),
        ({"focus": ["XX"]}, None, "focus.0", "has no group XX"),
        ({}, "what\nx\n", "document", None),
        ({}, "name\nx\n", "document", "A column statement is needed; there are: name."),
        ({}, "statement,status\nx,maybe\n", "document", "Line 2, status: “maybe” is none of"),
        ({}, "statement,control\nx,Q-1\n", "document", "Line 2, control:"),
        ({}, "statement,status\n,yes\n", "document", "Line 2: write what is in place."),
    ],
)
def test_what_is_wrong_is_named(inputs, document: str | None, field: str, sentence: str | None) -> None:
    sent = {"document": ("c.csv", document.encode())} if document else {}
    if sentence is None:
        assert run(TOOL, DAY | inputs, **sent).result["summary"]["statements"] == 1
        return
    with pytest.raises(BadInput) as error:
        run(TOOL, DAY | inputs, **sent)
    assert list(error.value.fields) == [field]
    assert sentence in error.value.fields[field][0]


# Files


def test_the_assessment_results_have_what_oscal_requires() -> None:
    made = json.loads(file(example(TOOL), "assessment-results.json"))["assessment-results"]
    assert {"uuid", "metadata", "import-ap", "results"} == set(made)
    assert {"title", "last-modified", "version", "oscal-version"} == set(made["metadata"])
    (result,) = made["results"]
    assert {"uuid", "title", "description", "start", "reviewed-controls"} <= set(result)
    numbers = [made["uuid"], result["uuid"], *(one["uuid"] for one in result["findings"])]
    assert len(set(numbers)) == 108
    form = r"[0-9a-f]{8}-[0-9a-f]{4}-[45][0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}"
    assert all(re.fullmatch(form, one) for one in numbers)
    states = {one["target"]["target-id"]: one["target"]["status"]["state"] for one in result["findings"]}
    assert states["pr.ds-11_smt"] == "satisfied"
    assert states["gv.po-01_smt"] == "not-satisfied"


def test_two_runs_are_one_and_two_frameworks_are_not() -> None:
    assert example(TOOL) == example(TOOL)
    statements = ["MFA for all", "Backups are restored"]
    told = [analyse(*statements, framework=key).result for key in frameworks.FRAMEWORKS]
    assert [one["summary"]["controls"] for one in told] == [106, 149, 93]
    assert len({one["gaps"][0]["control"] for one in told}) == 3


@settings(max_examples=60, deadline=None)
@given(
    st.sampled_from(sorted(frameworks.FRAMEWORKS)),
    st.lists(
        st.tuples(st.text(min_size=1, max_size=30), st.sampled_from(["implemented", "planned", "not_applicable"]))
    ),
)
def test_any_statement_gets_an_answer(framework: str, rows) -> None:
    kept = [
        {"statement": said, "status": status}
        for said, status in rows
        if said.strip() and not any(ord(one) == 0 or 0xD800 <= ord(one) <= 0xDFFF for one in said)
    ]
    try:
        result = run(TOOL, DAY | {"framework": framework, "controls": kept}).result
    except BadInput:
        assert not kept
        return
    assert 0 <= result["summary"]["evidenced_percent"] <= result["summary"]["coverage_percent"] <= 100


def test_two_thousand_lines_stay_within_the_limits() -> None:
    line = '"We monitor logs with a SIEM, patch servers, train staff against phishing",,partial,a policy,Ada\n'
    with within_cpu(TOOL.limits.cpu_seconds / 2):
        result = run(
            TOOL, DAY, document=("c.csv", ("statement,control,status,evidence,owner\n" + line * 2_000).encode())
        )
    assert result.result["summary"]["statements"] == 2_000
