"""OpenAI's own SDK, alone, against the stand-in: what it understands there, it understands of the real service.

Between the two there is no code of ours.
"""

import base64
import io
import time
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import openai
import pytest
from PIL import Image

from generations.providers.stand_ins.openai import KEY, MODELS
from tests.generations.providers.conftest import until
from tests.generations.providers.openai_server import OpenAIServer

TEXT, PICTURE = "gpt-6.1-terra", "gpt-image-2.6-flare"
SECRET = "whsec_" + base64.b64encode(b"a secret of thirty-two bytes ...").decode()


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIServer]:
    state = tmp_path_factory.mktemp("openai") / "state.json"
    running = OpenAIServer(state, "--seconds", "0.3", "--timeout-accept-seconds", "3")
    yield running
    running.kill()


@pytest.fixture
def client(server: OpenAIServer) -> Iterator[openai.OpenAI]:
    with openai.OpenAI(api_key=KEY, base_url=server.base_url, max_retries=0, timeout=20) as made:
        yield made


def background(client: openai.OpenAI, prompt: str, **named: Any) -> Any:
    given: dict[str, Any] = {"model": TEXT, "input": prompt, "background": True, "max_output_tokens": 300} | named
    return client.responses.create(**given)


def end_of(client: openai.OpenAI, prompt: str, **named: Any) -> Any:
    first = background(client, prompt, **named)

    def ask() -> Any:
        found = client.responses.retrieve(first.id)
        return found if found.status not in ("queued", "in_progress") else None

    return until(ask)


def test_a_response_runs_in_the_background_to_its_text_and_its_usage(client: openai.OpenAI) -> None:
    first = background(
        client, "A lighthouse", instructions="Say it plainly.", metadata={"holdfast_job": "j"}, store=True
    )
    assert (first.status, first.background, first.object, first.metadata) == (
        "queued", True, "response", {"holdfast_job": "j"},
    )  # fmt: skip
    assert first.id.startswith("resp_")
    assert first.usage is None
    assert first._request_id
    last = until(lambda: (found := client.responses.retrieve(first.id)).status == "completed" and found)
    assert "A lighthouse" in last.output_text
    assert last.error is None
    assert last.incomplete_details is None
    assert last.usage.input_tokens == len(b"A lighthouse" + b"Say it plainly.") // 4 + 1
    assert last.usage.total_tokens == last.usage.input_tokens + last.usage.output_tokens
    assert last.usage.output_tokens_details.reasoning_tokens == 0


def test_without_the_background_it_is_finished_when_it_is_answered(client: openai.OpenAI) -> None:
    said = client.responses.create(model=TEXT, input="A lighthouse")
    assert said.status == "completed"
    assert said.output_text


@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("[moderation_blocked]", "failed", "misalignment_policy_violation"),
        ("[invalid_request]", "failed", "invalid_prompt"),
        ("[failed server_error]", "failed", "server_error"),
        ("[incomplete max_output_tokens]", "incomplete", "max_output_tokens"),
        ("[incomplete content_filter]", "incomplete", "content_filter"),
        ("[unknown_word]", "transmogrified", None),
    ],
)
def test_how_a_response_can_end(client: openai.OpenAI, prompt: str, status: str, code: str | None) -> None:
    last = end_of(client, prompt)
    assert last.status == status
    said = last.error.code if last.error else last.incomplete_details.reason if last.incomplete_details else None
    assert said == code
    if code == "max_output_tokens":
        assert last.usage.output_tokens == 300


def test_a_refusal_is_no_output_text(client: openai.OpenAI) -> None:
    last = end_of(client, "[no_output]")
    assert (last.status, last.output_text) == ("completed", "")
    assert last.output[0].content[0].type == "refusal"


def test_a_completed_response_flips_when_it_was_told_to(client: openai.OpenAI) -> None:
    last = end_of(client, "[flip]")
    assert last.status == "completed"
    assert client.responses.retrieve(last.id).status == "failed"


def test_a_running_response_is_cancelled_and_an_ended_one_is_not(client: openai.OpenAI) -> None:
    running = background(client, "[slow 1h]")
    assert [client.responses.cancel(running.id).status for _ in range(2)] == ["cancelled", "cancelled"]
    done = end_of(client, "Short")
    with pytest.raises(openai.BadRequestError):
        client.responses.cancel(done.id)


def test_a_deleted_response_is_not_found(client: openai.OpenAI) -> None:
    done = end_of(client, "Short")
    client.responses.delete(done.id)
    with pytest.raises(openai.NotFoundError):
        client.responses.retrieve(done.id)


@pytest.mark.parametrize(
    ("named", "code", "param"),
    [
        ({"extra_body": {"surprise": 1}}, "unknown_parameter", "surprise"),
        ({"model": "no-such-model"}, "model_not_found", "model"),
        ({"max_output_tokens": 3}, "integer_below_min_value", "max_output_tokens"),
        ({"input": ""}, "missing_required_parameter", "input"),
        ({"input": 7}, "invalid_type", "input"),
        ({"store": False}, None, "background"),
        ({"model": "gpt-4o", "reasoning": {"effort": "low"}}, "unsupported_parameter", "reasoning.effort"),
        ({"metadata": {"k": "v" * 600}}, "invalid_type", "metadata"),
    ],
)
def test_what_the_api_does_not_know_is_refused(
    client: openai.OpenAI, named: dict[str, Any], code: str | None, param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as raised:
        background(client, **({"prompt": "A lighthouse"} | named))
    assert (raised.value.code, raised.value.param, raised.value.type) == (code, param, "invalid_request_error")
    assert raised.value.request_id


@pytest.mark.parametrize(
    ("status", "kind"),
    [
        (400, openai.BadRequestError), (401, openai.AuthenticationError), (402, openai.APIStatusError),
        (403, openai.PermissionDeniedError), (404, openai.NotFoundError), (422, openai.UnprocessableEntityError),
        (429, openai.RateLimitError), (500, openai.InternalServerError), (503, openai.InternalServerError),
    ],
)  # fmt: skip
def test_a_scripted_status_is_answered_and_accepts_nothing(
    client: openai.OpenAI, server: OpenAIServer, status: int, kind: type[openai.APIStatusError]
) -> None:
    with pytest.raises(kind) as raised:
        background(client, f"[submit {status}]", extra_headers={"Idempotency-Key": f"submit-{status}"})
    assert raised.value.status_code == status
    assert server.submits(f"submit-{status}") == {"received": 1, "accepted": 0}
    assert (raised.value.response.headers.get("retry-after") == "1") == (status == 429)


@pytest.mark.parametrize(("status", "times"), [(503, 3), (429, 3), (404, 3)])
def test_the_first_three_questions_are_answered_with_a_status(client: openai.OpenAI, status: int, times: int) -> None:
    first = background(client, f"[poll {status}]")
    for _ in range(times):
        with pytest.raises(openai.APIStatusError) as raised:
            client.responses.retrieve(first.id)
        assert raised.value.status_code == status
    assert client.responses.retrieve(first.id).id == first.id


def test_the_sdk_does_not_understand_what_is_spoilt(client: openai.OpenAI) -> None:
    page = background(client, "[html]")
    assert isinstance(client.responses.retrieve(page.id), str)  # a page is passed on as it is
    cut = background(client, "[cut_json]")
    with pytest.raises(ValueError, match=r"Unterminated|Expecting|delimiter"):
        client.responses.retrieve(cut.id)
    broken = background(client, "[reset]")
    with pytest.raises(openai.APIConnectionError):
        client.responses.retrieve(broken.id)
    silent = background(client, "[silent]")
    with pytest.raises(openai.APIConnectionError):
        client.responses.retrieve(silent.id)


def test_timeout_after_accept_is_accepted_and_said_too_late(client: openai.OpenAI, server: OpenAIServer) -> None:
    with pytest.raises(openai.APITimeoutError):
        background(client, "[timeout_after_accept]", extra_headers={"Idempotency-Key": "late"}, timeout=0.5)
    assert server.submits("late") == {"received": 1, "accepted": 1}


def test_the_idempotency_key_promises_nothing_as_at_openai(client: openai.OpenAI, server: OpenAIServer) -> None:
    ids = {background(client, "Twice", extra_headers={"Idempotency-Key": "twice"}).id for _ in range(2)}
    assert len(ids) == 2
    assert server.submits("twice") == {"received": 2, "accepted": 2}


def test_an_image_is_made_while_one_waits(client: openai.OpenAI) -> None:
    said = client.images.generate(model=PICTURE, prompt="A lighthouse", size="1536x1024", quality="low", n=1)
    assert said.data
    picture = Image.open(io.BytesIO(base64.b64decode(said.data[0].b64_json or "")))
    assert (picture.format, picture.size) == ("PNG", (1536, 1024))
    assert (said.output_format, said.quality, said.size) == ("png", "low", "1536x1024")
    assert said.usage
    assert said.usage.total_tokens == said.usage.input_tokens + said.usage.output_tokens


@pytest.mark.parametrize(
    ("prompt", "named", "code", "kind"),
    [
        ("[moderation_blocked]", {}, "moderation_blocked", "image_generation_user_error"),
        ("[invalid_request]", {}, "invalid_prompt", "invalid_request_error"),
        ("A lighthouse", {"size": "7x7"}, "invalid_value", "invalid_request_error"),
        ("A lighthouse", {"quality": "standard"}, "invalid_value", "invalid_request_error"),
        ("A lighthouse", {"extra_body": {"response_format": "url"}}, "unknown_parameter", "invalid_request_error"),
        ("A lighthouse", {"model": "no-such-model"}, "model_not_found", "invalid_request_error"),
    ],
)
def test_an_image_that_is_refused(
    client: openai.OpenAI, prompt: str, named: dict[str, Any], code: str, kind: str
) -> None:
    given: dict[str, Any] = {"model": PICTURE, "prompt": prompt} | named
    with pytest.raises(openai.BadRequestError) as raised:
        client.images.generate(**given)
    assert (raised.value.code, raised.value.type) == (code, kind)


def test_an_image_without_its_content(client: openai.OpenAI) -> None:
    said = client.images.generate(model=PICTURE, prompt="[no_output]")
    assert said.data
    assert said.data[0].b64_json is None


@pytest.fixture
def videos(client: openai.OpenAI) -> Iterator[Any]:
    """The SDK calls these deprecated: OpenAI serves no videos any more, compatible servers do."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        yield client.videos


def test_a_video_is_made_downloaded_and_deleted(videos: Any) -> None:
    first = videos.create(prompt="A lighthouse [slow 1s]", model="sora-2", seconds="4", size="1280x720")
    assert (first.status, first.object, first.seconds, first.size) == ("queued", "video", "4", "1280x720")
    seen = []

    def ask() -> Any:
        seen.append(videos.retrieve(first.id))
        return seen[-1].status == "completed"

    until(ask)
    assert [video.progress for video in seen] == sorted(video.progress for video in seen)
    assert seen[-1].progress == 100
    assert videos.download_content(first.id).read()[4:8] == b"ftyp"
    assert first.id in [video.id for video in videos.list()]
    assert videos.delete(first.id).deleted
    with pytest.raises(openai.NotFoundError):
        videos.retrieve(first.id)


@pytest.mark.parametrize(
    ("prompt", "code"),
    [
        ("[moderation_blocked]", "moderation_blocked"),
        ("[invalid_request]", "invalid_request"),
        ("[failed busy]", "busy"),
    ],
)
def test_a_video_that_fails(videos: Any, prompt: str, code: str) -> None:
    first = videos.create(prompt=prompt)
    last = until(lambda: (found := videos.retrieve(first.id)).status == "failed" and found)
    assert last.error.code == code
    assert last.error.message
    with pytest.raises(openai.NotFoundError):
        videos.download_content(first.id)


def test_a_video_is_refused_where_a_value_is_none_of_the_known(videos: Any) -> None:
    for wrong in ({"seconds": "5"}, {"size": "640x360"}, {"model": "no-such-model"}):
        with pytest.raises(openai.BadRequestError):
            videos.create(prompt="A lighthouse", **wrong)


def test_the_models_are_listed(client: openai.OpenAI) -> None:
    assert [model.id for model in client.models.list()] == list(MODELS)
    assert client.models.retrieve(TEXT).id == TEXT
    with pytest.raises(openai.NotFoundError):
        client.models.retrieve("no-such-model")


def test_without_the_right_key_nothing_opens(server: OpenAIServer) -> None:
    with openai.OpenAI(api_key="sk-another-one-entirely", base_url=server.base_url, max_retries=0) as stranger:
        with pytest.raises(openai.AuthenticationError) as raised:
            stranger.models.list()
        assert raised.value.code == "invalid_api_key"
        assert "sk-another-one-entirely" not in str(raised.value)
    missing = server.raw("GET", "/v1/models", headers={"Authorization": ""})
    assert (missing.status_code, missing.json()["error"]["type"]) == (401, "invalid_request_error")


@pytest.mark.parametrize(
    ("named", "status"),
    [
        ({"content": b"{}", "headers": {"Content-Type": "text/plain"}}, 400),
        ({"content": b"{", "headers": {"Content-Type": "application/json"}}, 400),
        ({"content": b"[]", "headers": {"Content-Type": "application/json"}}, 400),
        ({"json": {}, "headers": {"Host": "provider.example"}}, 421),
    ],
)
def test_what_no_sdk_would_send_is_refused(server: OpenAIServer, named: dict[str, Any], status: int) -> None:
    said = server.raw("POST", "/v1/responses", **named)
    assert said.status_code == status
    assert said.json()["error"]["message"]


def test_an_event_is_signed_as_the_sdk_verifies_it(client: openai.OpenAI, server: OpenAIServer) -> None:
    sent = server.post(
        "webhooks", url=f"{server.url}/v1/responses", secret=SECRET, type="response.completed", id="resp_1"
    )
    event: Any = client.webhooks.unwrap(sent["sent"], sent["headers"], secret=SECRET)
    assert (event.type, event.data.id) == ("response.completed", "resp_1")
    with pytest.raises(openai.InvalidWebhookSignatureError):
        client.webhooks.unwrap(sent["sent"] + " ", sent["headers"], secret=SECRET)
    old = int(time.time()) - 301
    stale = server.post(
        "webhooks", url=f"{server.url}/v1/responses", secret=SECRET, type="response.failed", id="r", timestamp=old
    )
    with pytest.raises(openai.InvalidWebhookSignatureError, match="too old"):
        client.webhooks.unwrap(stale["sent"], stale["headers"], secret=SECRET)


def test_a_restart_forgets_nothing(tmp_path: Path) -> None:
    server = OpenAIServer(tmp_path / "state.json", "--seconds", "0.1")
    with openai.OpenAI(api_key=KEY, base_url=server.base_url, max_retries=0) as client:
        flipped, slow = end_of(client, "[flip]"), background(client, "[slow 1h]")
        server.kill()
        server.start()
        assert client.responses.retrieve(flipped.id).status == "failed"
        assert client.responses.retrieve(slow.id).status == "queued"
        server.post("advance", seconds=3600)
        assert client.responses.retrieve(slow.id).status == "completed"
    server.kill()


def test_it_says_what_it_is_told(client: openai.OpenAI, server: OpenAIServer) -> None:
    first = background(client, "[unknown_word]", metadata={"holdfast_job": "told"})
    server.post("jobs/told", status="failed", code="server_error", message="As told.")
    last = client.responses.retrieve(first.id)
    assert last.error
    assert (last.status, last.error.code, last.error.message) == ("failed", "server_error", "As told.")
