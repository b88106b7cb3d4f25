"""Who runs what is chosen by staff, with a reason, and counts for new jobs at once."""

from __future__ import annotations

import json
from datetime import timedelta
from html import unescape
from typing import Any

import pytest

from billing import clock as ledger_clock
from billing.models import Audit
from generations import lifecycle, routes
from generations.admin.providers import title_of
from generations.models import Circuit, Route
from generations.providers import graphs
from generations.providers.base import NotOffered
from generations.providers.rehearsal import Rehearsal
from tests.billing.admin.colleague import Colleague, a_form, said
from tests.generations.admin.test_jobs import page_of
from tests.generations.trip import SHORT, Trip

pytestmark = pytest.mark.django_db(transaction=True)

PAGE = "/admin/generations/route/"
ACTS = ("put_first", "offer", "stop_offering", "edit_graph", "shipped_graph")


def route(provider: str, operation: str = "ai/video") -> Route:
    return Route.objects.get(operation=operation, provider=provider)


def runs() -> list[str]:
    """Who may be chosen for a video, the default one first."""
    return [provider.name for provider in routes.offered("ai/video")]


def trail(colleague: Colleague) -> list[tuple[str, str, str, str]]:
    rows = Audit.objects.filter(actor=colleague.actor, is_refusal=False).order_by("id")
    return [(row.act, row.facts["provider"], row.facts["before"], row.facts["after"]) for row in rows]


@pytest.fixture(autouse=True)
def two_for_a_video(catalogue: None) -> None:
    """This machine and the rehearsal, in that order; whatever else ships is not there."""
    Route.objects.filter(operation="ai/video").exclude(provider__in=["local", "rehearsal"]).delete()


@pytest.fixture
def comfy(two_for_a_video: None) -> Route:
    """Videos on ComfyUI, a provider that runs graphs; whether it is set up here or not."""
    return Route.objects.create(operation="ai/video", provider="comfyui", position=90)


def a_graph(**changes: Any) -> str:
    """The shipped graph with some of its nodes changed, as staff would write it."""
    return json.dumps(graphs.shipped("ai/video") | changes)


def test_the_page_says_who_runs_what(trip: Trip, staff: Colleague) -> None:
    trip.running("[slow 9h]")
    trip.running("[moderation_blocked]").ended()
    words = said(staff.get(PAGE))
    assert "Video" in words
    assert f"{title_of('local')} default offered closed: calls flow 0 0" in words
    assert f"{title_of('rehearsal')} 2. offered closed: calls flow 1 1" in words
    assert "Can be asked by our id whether it has a job." in words
    assert "Can stop a job." in words
    assert page_of(route("local")) in staff.get(PAGE).content.decode()


def test_the_first_is_the_default(trip: Trip, staff: Colleague) -> None:
    assert runs() == ["local", "rehearsal"]
    check = said(staff.checks(route("rehearsal"), "put_first"))
    assert "Who runs ai/video" in check
    assert runs() == ["local", "rehearsal"]
    assert staff.does(route("rehearsal"), "put_first", reason="Try it.").status_code == 302
    assert runs() == ["rehearsal", "local"]
    assert lifecycle.quote("ai/video", SHORT | {"prompt": "A pier"}).provider.name == "rehearsal"
    local, rehearsal = title_of("local"), title_of("rehearsal")
    assert trail(staff) == [("put_first", "rehearsal", f"{local}, then {rehearsal}", f"{rehearsal}, then {local}")]
    assert Audit.objects.get(act="put_first").facts["reason"] == "Try it."
    assert staff.does(route("rehearsal"), "put_first").status_code == 409


def test_what_is_not_offered_cannot_be_chosen_and_goes_on(trip: Trip, staff: Colleague) -> None:
    job = trip.running("A pier")
    assert staff.does(route("rehearsal"), "stop_offering").status_code == 302
    assert runs() == ["local"]
    with pytest.raises(lifecycle.ProviderNotOffered):
        trip.start("Another pier")
    assert job.ended().row.outcome == "charged"
    assert "nobody: it cannot be started" in said(staff.checks(route("local"), "stop_offering"))
    assert staff.does(route("rehearsal"), "stop_offering").status_code == 409
    assert staff.does(route("rehearsal"), "offer").status_code == 302
    assert runs() == ["local", "rehearsal"]
    assert [act for act, *_ in trail(staff)] == ["stop_offering", "offer"]


def test_an_act_sent_twice_is_done_once(trip: Trip, staff: Colleague) -> None:
    once = a_form()
    for _ in range(2):
        staff.does(route("rehearsal"), "put_first", once=once)
    assert runs() == ["rehearsal", "local"]
    assert len(trail(staff)) == 1


@pytest.mark.parametrize("act", ACTS)
def test_only_with_the_right_to_change_routes(trip: Trip, act: str) -> None:
    nora = Colleague("nora", "view_route", "change_settlementrule")
    before = list(Route.objects.values())
    assert nora.opens(route("rehearsal"), act).status_code == 403
    assert nora.does(route("rehearsal"), act, graph="{}").status_code == 403
    assert Colleague("olga", "*", is_staff=False).does(route("rehearsal"), act).status_code == 302
    assert list(Route.objects.values()) == before
    assert "Put first" not in said(nora.get(page_of(route("rehearsal"))))
    assert nora.get(PAGE).status_code == 200
    assert Colleague("vera").get(PAGE).status_code == 403


def test_why_it_cannot_be_offered(trip: Trip, staff: Colleague, monkeypatch: pytest.MonkeyPatch) -> None:
    def not_set_up(self: Any) -> None:
        raise NotOffered("REHEARSAL_KEY is missing.")

    monkeypatch.setattr(Rehearsal, "__init__", not_set_up)
    for path in (PAGE, page_of(route("rehearsal"))):
        words = said(staff.get(path))
        assert "Not set up here: REHEARSAL_KEY is missing." in words
        assert "cannot be offered" in words
    Route.objects.create(operation="ai/video", provider="gone", position=1)
    routes.forget()
    words = said(staff.get(PAGE))
    assert "There is no provider of that name any more." in words
    assert runs() == ["local"]
    assert staff.get(page_of(route("gone"))).status_code == 200


def test_its_circuit(trip: Trip, staff: Colleague) -> None:
    job = trip.running("A pier")
    now = ledger_clock.now()
    Circuit.objects.create(
        provider="rehearsal",
        opened_at=now,
        retry_at=now + timedelta(minutes=1),
        openings=1,
        last_error="503 <b>down</b>",
    )
    for path in (PAGE, page_of(route("rehearsal")), page_of(job.row)):
        page = staff.get(path)
        assert "open: left alone" in said(page)
        assert "503 &lt;b&gt;down" in page.content.decode()


def test_a_graph_is_put_in_place_and_the_shipped_one_again(comfy: Route, staff: Colleague) -> None:
    page = unescape(staff.opens(comfy, "edit_graph").content.decode())
    assert json.dumps(graphs.shipped("ai/video"), indent=2, ensure_ascii=False) in page, (
        "it begins with the shipped one"
    )
    graph = a_graph(**{"900": {"class_type": "Note", "inputs": {"text": "ours"}}})
    count = len(json.loads(graph))
    assert f"the shipped one yours, {count} nodes" in said(staff.checks(comfy, "edit_graph", graph=graph))
    assert staff.does(comfy, "edit_graph", graph=graph).status_code == 302
    assert routes.graph("ai/video", "comfyui") == json.loads(graph)
    assert "ours" in staff.opens(comfy, "edit_graph").content.decode()
    assert Audit.objects.get(act="edit_graph").facts["graph"]["900"]["inputs"] == {"text": "ours"}
    assert staff.does(comfy, "edit_graph", graph=graph).status_code == 409
    assert staff.does(comfy, "shipped_graph").status_code == 302
    assert Route.objects.get(pk=comfy.pk, graph__isnull=True)
    assert staff.does(comfy, "shipped_graph").status_code == 409
    words = said(staff.checks(comfy, "stop_offering"))
    assert "then Rehearsal (not set up here), then ComfyUI (not set up here) This machine," in words


@pytest.mark.parametrize(
    ("graph", "named"),
    [
        ("", "required"),
        ("{", "not readable as JSON"),
        ("[]", "object of nodes"),
        ('{"nodes": []}', "Export (API)"),
        ('{"1": ' * 5000, "not readable as JSON"),
        ('{"1": {"class_type": "SaveVideo", "inputs": {"filename_prefix": "x"}}}', "{{prompt}}"),
        (lambda: a_graph(x={"class_type": "<script>", "inputs": {"text": "{{secret}}"}}), "does not exist"),
        (lambda: a_graph(x={"class_type": "Note", "inputs": {"text": "\x00"}}), "cannot be stored"),
        (lambda: a_graph(x={"class_type": "Note", "inputs": {"text": "\ud800"}}), "cannot be stored"),
        (lambda: a_graph(x={"class_type": "Note", "inputs": json.loads('{"a":' * 900 + "1" + "}" * 900)}), "Graph"),
    ],
)
def test_what_cannot_be_run_is_refused_with_its_reason(comfy: Route, staff: Colleague, graph: Any, named: str) -> None:
    answer = staff.does(comfy, "edit_graph", graph=graph() if callable(graph) else graph)
    assert answer.status_code == 200
    assert named in said(answer)
    assert Route.objects.get(pk=comfy.pk, graph__isnull=True)


def test_only_providers_of_graphs_have_one(trip: Trip, staff: Colleague) -> None:
    assert "Edit the graph" not in said(staff.get(page_of(route("local"))))


def test_a_provider_is_added_to_an_operation(trip: Trip, staff: Colleague) -> None:
    Route.objects.filter(provider="rehearsal").delete()
    routes.forget()
    assert runs() == ["local"]
    path = f"{PAGE}act/add_route/"
    assert path in staff.get(PAGE).content.decode()
    assert staff.does_at(path, route="ai/video local").status_code == 200, "it stands there already"
    assert staff.does_at(path, route="ai/video comfyui").status_code == 200, "it is not set up here"
    once = a_form()
    for _ in range(2):
        staff.does_at(path, route="ai/video rehearsal", once=once)
    assert runs() == ["local", "rehearsal"]
    assert [row.act for row in Audit.objects.filter(is_refusal=False)] == ["add_route"]
    nora = Colleague("nora", "view_route")
    assert nora.does_at(path, route="ai/image local").status_code == 403
    assert path not in nora.get(PAGE).content.decode()
