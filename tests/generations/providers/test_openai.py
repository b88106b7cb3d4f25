"""What is particular to OpenAI: what is sent, what is made of its answers, and what never leaves or enters.

What it shares with the others is in test_contract.py.
"""

import base64
import gzip
import io
import json
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from typing import Any

import pytest
from PIL import Image

from config.settings import child_environment
from generations import providers, routes
from generations.providers.base import (
    Job,
    NotCancellable,
    NotOffered,
    OutputUnavailable,
    Refused,
    TryLater,
    Unknown,
)
from generations.providers.openai import (
    BASE_URL,
    IMAGE_JSON_BYTES_MAX,
    JSON_BYTES_MAX,
    KINDS,
    TONES,
    OpenAI,
    _words_for,
)
from generations.providers.stand_ins.openai import KEY
from tests.generations.providers.benches import OpenAIImage, OpenAIScript, OpenAIVideo
from tests.generations.providers.conftest import Asked, ended
from tests.generations.providers.meddler import Spoil
from tests.generations.providers.openai_server import OpenAIServer

# So many tokens the price allows for our instructions; a token is at least one byte.
INSTRUCTION_BYTES_MAX = 1000


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[OpenAIScript]:
    bench = OpenAIScript()
    bench.start(tmp_path_factory.mktemp("openai"))
    yield bench
    bench.stop()


@pytest.fixture
def texts(started: OpenAIScript, settings: Any) -> OpenAIScript:
    settings.PROVIDER_TIMEOUT_SECONDS = 10
    started.use(settings)
    return started


@pytest.fixture
def images(texts: OpenAIScript) -> OpenAIImage:
    """The same server, asked for images."""
    bench = OpenAIImage()
    bench.server, bench.meddler, bench.provider = texts.server, texts.meddler, texts.provider
    return bench


@pytest.fixture
def films(texts: OpenAIScript) -> OpenAIVideo:
    bench = OpenAIVideo()
    bench.server, bench.meddler, bench.provider = texts.server, texts.meddler, texts.provider
    return bench


@pytest.fixture
def server(texts: OpenAIScript) -> OpenAIServer:
    return texts.server


def edited(**changes: Any) -> Spoil:
    """The server's answer with some of its fields changed."""
    return Spoil(body=lambda body, _: json.dumps(json.loads(body) | changes).encode())


# Whether it is there, and for what


def test_without_a_key_it_is_not_there_and_nothing_else_changes(settings: Any, db: None) -> None:
    settings.OPENAI_API_KEY = ""
    with pytest.raises(NotOffered, match="OPENAI_API_KEY"):
        providers.get("openai")
    routes.forget()
    for operation, first in (("ai/video", "local"), ("ai/image", "local"), ("ai/script", "local")):
        names = [provider.name for provider in routes.offered(operation)]
        assert names[0] == first
        assert "openai" not in names


@pytest.mark.parametrize("key", ["", KEY])
def test_its_sdk_is_loaded_before_processes_are_forked_and_only_where_there_is_a_key(key: str) -> None:
    program = (
        "import sys, django; django.setup(); from generations import providers; providers.load();"
        "print('openai' in sys.modules)"
    )
    environment = child_environment(DJANGO_SETTINGS_MODULE="config.settings", HOLDFAST_ENV="test", OPENAI_API_KEY=key)
    said = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert said.stdout.strip() == str(bool(key)), said


@pytest.mark.parametrize("key", ["two words", "new\nline", "ключ", "tab\t"])
def test_a_key_that_no_header_can_carry_is_none(settings: Any, key: str) -> None:
    settings.OPENAI_API_KEY = key
    with pytest.raises(NotOffered):
        OpenAI()


@pytest.mark.parametrize(
    ("models", "operations"),
    [
        (("t", "i", ""), {"ai/script", "ai/threads", "ai/image"}),
        (("t", "i", "v"), {"ai/script", "ai/threads", "ai/image", "ai/video"}),
        (("", "i", ""), {"ai/image"}),
    ],
)
def test_it_offers_what_it_has_a_model_for(settings: Any, models: tuple[str, str, str], operations: set[str]) -> None:
    settings.OPENAI_API_KEY = KEY
    settings.OPENAI_TEXT_MODEL, settings.OPENAI_IMAGE_MODEL, settings.OPENAI_VIDEO_MODEL = models
    assert OpenAI().operations == operations


@pytest.mark.parametrize(
    ("url", "is_real"),
    [
        ("", True), ("https://api.openai.com/v1", True), ("https://gpu.example/v1", True), ("http://10.0.0.7/v1", True),
        ("http://127.0.0.1:9/v1", False), ("http://localhost:9/v1", False), ("http://[::1]:9/v1", False),
    ],
)  # fmt: skip
def test_it_is_real_unless_its_address_is_this_machine(settings: Any, url: str, is_real: bool) -> None:
    settings.OPENAI_API_KEY, settings.OPENAI_BASE_URL = KEY, url
    provider = OpenAI()
    assert provider.is_real == is_real
    assert provider.url == (url or BASE_URL)


def test_an_operation_that_is_not_set_up_is_refused_without_a_call(texts: OpenAIScript, settings: Any) -> None:
    settings.OPENAI_VIDEO_MODEL = ""
    with pytest.raises(Refused) as raised:
        Asked(OpenAI()).submit(replace(texts.job(), operation="ai/video"))
    assert (raised.value.status, raised.value.code) == ("404", "unknown_operation")
    assert texts.meddler.seen == []


# What is sent


def sent_of(server: OpenAIServer, job_id: str) -> dict[str, Any]:
    found = server.get("requests")["requests"]
    return [one for one in found if one["headers"].get("idempotency-key") == job_id][-1]


ENVIRONMENT = {
    "OPENAI_API_KEY": "sk-of-the-environment",
    "OPENAI_ADMIN_KEY": "sk-admin-of-the-environment",
    "OPENAI_BASE_URL": "http://127.0.0.1:1/v1",
    "OPENAI_ORG_ID": "org-of-the-environment",
    "OPENAI_PROJECT_ID": "proj-of-the-environment",
    "OPENAI_WEBHOOK_SECRET": "whsec_ZW52aXJvbm1lbnQ=",
    "OPENAI_CUSTOM_HEADERS": "X-Surprise: of-the-environment\nAuthorization: Bearer sk-of-the-environment",
    "HTTP_PROXY": "http://127.0.0.1:1",
    "HTTPS_PROXY": "http://127.0.0.1:1",
    "ALL_PROXY": "http://127.0.0.1:1",
}


def test_nothing_of_the_environment_is_sent_or_used(
    texts: OpenAIScript, settings: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    # An address that no client was made for yet, so that one is made now.
    settings.OPENAI_BASE_URL = settings.OPENAI_BASE_URL.replace("127.0.0.1", "localhost")
    job = texts.job()
    with monkeypatch.context() as there:
        for name, value in ENVIRONMENT.items():
            there.setenv(name, value)
        assert Asked(OpenAI()).submit(job).provider_job_id
    headers = sent_of(texts.server, job.id)["headers"]
    assert not {"openai-organization", "openai-project", "x-surprise"} & set(headers)
    assert "of-the-environment" not in str(headers)


def test_a_text_is_asked_for_in_the_background_under_our_id(texts: OpenAIScript) -> None:
    job = texts.submitted(kind="trailer", tone="funny", seconds=60, length_max=500)
    told = texts.server.raw("GET", f"/v1/responses/{job.provider_job_id}").json()
    assert (told["background"], told["store"], told["max_output_tokens"]) == (True, True, 500)
    assert told["metadata"] == {"holdfast_job": job.id}
    assert told["model"] == "gpt-6.1-terra"
    assert told["reasoning"] == {"effort": "low"}
    assert "a trailer" in told["instructions"]
    assert "60 seconds" in told["instructions"]
    assert "lighthouse" not in told["instructions"], "a customer's words instruct nobody"
    assert sent_of(texts.server, job.id)["headers"]["content-type"] == "application/json"


def test_a_model_that_does_not_think_is_not_asked_to_think_less(texts: OpenAIScript, settings: Any) -> None:
    settings.OPENAI_TEXT_MODEL = "gpt-4o"
    accepted = Asked(OpenAI()).submit(texts.job())
    told = texts.server.raw("GET", f"/v1/responses/{accepted.provider_job_id}").json()
    assert told["model"] == "gpt-4o"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("tone", TONES)
def test_our_instructions_fit_into_what_the_price_allows_for_them(kind: str, tone: str) -> None:
    script = Job("j", "ai/script", {"prompt": "é" * 50, "kind": kind, "tone": tone, "seconds": 180})
    threads = Job("j", "ai/threads", {"prompt": "é" * 50, "audience": "ü" * 200, "tone": tone, "posts": 20})
    for job in (script, threads):
        instructions, asked = _words_for(job)
        theirs = sum(len(text.encode()) for name, text in job.inputs.items() if name in ("prompt", "audience"))
        assert len(instructions.encode()) + len(asked.encode()) - theirs <= INSTRUCTION_BYTES_MAX - 50
        assert TONES[tone] in instructions


def test_a_thread_names_its_posts_and_its_audience(texts: OpenAIScript) -> None:
    inputs = {"prompt": "A lighthouse", "audience": "sailors", "tone": "warm", "posts": 7, "length_max": 900}
    accepted = texts.provider.submit(Job("thread-1", "ai/threads", inputs))
    told = texts.server.raw("GET", f"/v1/responses/{accepted.provider_job_id}").json()
    assert "exactly 7 posts" in told["instructions"]
    assert "sailors" not in told["instructions"]
    done = Job("thread-1", "ai/threads", inputs, accepted.provider_job_id)
    text, _ = texts.fetched(done, ended(texts.provider, done))
    assert b"Subject: A lighthouse" in text
    assert b"Audience: sailors" in text


# What is made of its answers


def test_a_text_is_counted_as_the_provider_counted(texts: OpenAIScript) -> None:
    job = texts.submitted()
    assert texts.provider.poll(job).usage == {}
    answer = ended(texts.provider, job)
    told = texts.server.raw("GET", f"/v1/responses/{job.provider_job_id}").json()["usage"]
    assert answer.usage == {name: told[name] for name in ("input_tokens", "output_tokens")}
    assert answer.usage["output_tokens"] > 10


def test_where_nothing_was_counted_nothing_is_made_up(texts: OpenAIScript) -> None:
    job = texts.submitted(prompt="[no_usage]")
    answer = ended(texts.provider, job)
    assert (answer.status, answer.usage) == ("completed", {})


@pytest.mark.parametrize(
    ("prompt", "status", "code", "theirs"),
    [
        ("[moderation_blocked]", "failed", "moderation_blocked", "misalignment_policy_violation"),
        ("[invalid_request]", "failed", "invalid_request", "invalid_prompt"),
        ("[failed server_error]", "failed", "server_error", "server_error"),
        ("[failed bio_policy]", "failed", "moderation_blocked", "bio_policy"),
        ("[failed cyber_policy]", "failed", "moderation_blocked", "cyber_policy"),
        ("[failed image_content_policy_violation]", "failed", "moderation_blocked", "image_content_policy_violation"),
        ("[failed content_policy_violation]", "failed", "moderation_blocked", "content_policy_violation"),
        ("[failed rate_limit_exceeded]", "failed", "rate_limit_exceeded", "rate_limit_exceeded"),
        ("[incomplete max_output_tokens]", "incomplete", "max_output_tokens", "max_output_tokens"),
        ("[incomplete content_filter]", "incomplete", "content_filter", "content_filter"),
    ],
)
def test_how_a_text_ends_in_our_words_and_theirs(
    texts: OpenAIScript, prompt: str, status: str, code: str, theirs: str
) -> None:
    answer = ended(texts.provider, texts.submitted(prompt=prompt))
    assert (answer.status, answer.code) == (status, code)
    said = answer.evidence["said"]
    assert theirs == (said["error"]["code"] if status == "failed" else said["incomplete_details"]["reason"])
    assert bool(answer.message) == (status == "failed")


def test_a_text_that_was_cut_off_is_delivered_as_far_as_it_goes(texts: OpenAIScript) -> None:
    job = texts.submitted(prompt="[incomplete max_output_tokens]", length_max=100)
    answer = ended(texts.provider, job)
    assert answer.usage["output_tokens"] == 100
    assert texts.fetched(job, answer)[0].startswith(b"# A stand-in")


def test_a_refusal_is_no_text(texts: OpenAIScript) -> None:
    job = texts.submitted("no_output")
    with pytest.raises(OutputUnavailable) as raised:
        texts.fetched(job, ended(texts.provider, job))
    assert raised.value.code == "output_missing"


def test_evidence_holds_neither_what_was_asked_nor_what_was_made(texts: OpenAIScript, images: OpenAIImage) -> None:
    answer = ended(texts.provider, texts.submitted(prompt="The secret of the lighthouse"))
    accepted = images.provider.submit(images.job(prompt="The secret of the lighthouse"))
    assert accepted.content
    for evidence in (answer.evidence, accepted.evidence, accepted.answer.evidence):
        assert "lighthouse" not in str(evidence)
        assert "iVBOR" not in str(evidence)
        assert evidence["http_status"] == 200
        assert evidence["request_id"].startswith("req_")


def test_the_answer_about_another_job_is_no_answer(texts: OpenAIScript) -> None:
    job = texts.submitted()
    texts.spoil("poll", edited(id="resp_another"))
    with pytest.raises(Unknown) as raised:
        texts.provider.poll(job)
    assert (raised.value.status, raised.value.code) == ("garbage", "another_id")


@pytest.mark.parametrize("status", [None, "", 7, {}])
def test_an_answer_without_a_status_is_no_answer(texts: OpenAIScript, status: Any) -> None:
    job = texts.submitted()
    texts.spoil("poll", edited(status=status))
    with pytest.raises(Unknown) as raised:
        texts.provider.poll(job)
    assert raised.value.status == "garbage"


@pytest.mark.parametrize("job_id", [None, "", 7, "../x", "a b", "x" * 300])
def test_a_submission_without_a_plain_id_is_a_doubt(texts: OpenAIScript, job_id: Any) -> None:
    texts.spoil("submit", edited(id=job_id))
    with pytest.raises(Unknown) as raised:
        texts.provider.submit(texts.job())
    assert (raised.value.status, raised.value.code) == ("garbage", "no_id")


def test_a_compatible_server_that_knows_no_background_has_finished_at_once(texts: OpenAIScript) -> None:
    said = {"type": "message", "content": [{"type": "output_text", "text": "Dawn."}]}
    usage = {"input_tokens": 5, "output_tokens": 2}
    texts.spoil("submit", edited(status="completed", output=[said], usage=usage))
    accepted = texts.provider.submit(texts.job())
    assert (accepted.answer.status, accepted.content) == ("completed", b"Dawn.")
    assert accepted.answer.usage == usage
    texts.meddler.clear()
    texts.spoil("submit", edited(status="failed", error={"code": "server_error", "message": "No."}))
    accepted = texts.provider.submit(texts.job())
    assert (accepted.answer.status, accepted.answer.code, accepted.content) == ("failed", "server_error", None)


@pytest.mark.parametrize(
    ("body", "code", "message"),
    [
        ({"error": {"message": "No.", "type": "invalid_request_error", "code": None}}, "invalid_request", "No."),
        ({"error": {"message": "No.", "type": "t", "code": "unknown_parameter"}}, "unknown_parameter", "No."),
        ({"error": {"message": "No.", "code": "content_filter"}}, "moderation_blocked", "No."),
        ({"error": "No."}, None, "No."),
        ({"detail": "No."}, None, "No."),
        ({"detail": [{"loc": ["body"]}]}, None, "The provider refused the request."),
        ({}, None, "The provider refused the request."),
    ],
)
def test_a_refusal_is_read_in_every_shape_that_servers_give_it(
    texts: OpenAIScript, body: Any, code: str | None, message: str
) -> None:
    texts.spoil("submit", Spoil(is_passed_on=False, status=400, body=json.dumps(body).encode()))
    with pytest.raises(Refused) as raised:
        texts.provider.submit(texts.job())
    assert (raised.value.code, raised.value.message) == (code, message)


def test_a_spent_quota_is_later_and_not_never(texts: OpenAIScript) -> None:
    error = {"message": "You have spent it.", "type": "insufficient_quota", "code": "insufficient_quota"}
    texts.spoil("submit", Spoil(is_passed_on=False, status=429, body=json.dumps({"error": error}).encode()))
    with pytest.raises(TryLater) as raised:
        texts.provider.submit(texts.job())
    assert raised.value.code == "insufficient_quota"


def test_a_wrong_key_is_a_refusal_that_does_not_tell_the_key(texts: OpenAIScript, settings: Any) -> None:
    settings.OPENAI_API_KEY = "plain-key-of-a-compatible-server"
    with pytest.raises(Refused) as raised:
        Asked(OpenAI()).submit(texts.job())
    assert (raised.value.status, raised.value.code) == ("401", "invalid_api_key")
    assert "plain-key" not in f"{raised.value} {raised.value.evidence}"


def test_cancelling_again_is_safe_and_an_ended_text_says_so(texts: OpenAIScript) -> None:
    job = texts.submitted("slow")
    texts.provider.cancel(job)
    answer = ended(texts.provider, job)
    assert (answer.status, answer.code) == ("cancelled", None)
    done = texts.submitted()
    ended(texts.provider, done)
    texts.spoil("cancel", Spoil(status=200, body=json.dumps({"id": "x", "status": "completed"}).encode()))
    with pytest.raises(NotCancellable):  # some servers answer with the response as it is
        texts.provider.cancel(done)


# Bounds


def test_an_answer_without_an_end_is_not_read_to_it(texts: OpenAIScript, images: OpenAIImage) -> None:
    job = texts.submitted()
    texts.spoil("poll", Spoil(body=b'{"id": "' + b"x" * JSON_BYTES_MAX + b'"}', is_unsized=True))
    with pytest.raises(Unknown) as raised:
        texts.provider.poll(job)
    assert (raised.value.status, raised.value.code) == ("garbage", "too_long")
    images.spoil("submit", Spoil(status=500, body=b"x" * (IMAGE_JSON_BYTES_MAX + 1)))
    with pytest.raises(Unknown) as raised:
        images.provider.submit(images.job())
    assert (raised.value.status, raised.value.code) == ("garbage", "too_long")


def test_an_answer_that_is_compressed_unasked_is_not_unpacked(texts: OpenAIScript) -> None:
    job = texts.submitted()
    bomb = gzip.compress(b" " * 50_000_000)
    texts.spoil("poll", Spoil(body=bomb, headers={"Content-Encoding": "gzip"}))
    with pytest.raises(Unknown) as raised:
        texts.provider.poll(job)
    assert raised.value.status == "garbage"


def test_deep_json_is_garbage(texts: OpenAIScript) -> None:
    job = texts.submitted()
    texts.spoil("poll", Spoil(body=b"[" * 100_000))
    with pytest.raises(Unknown) as raised:
        texts.provider.poll(job)
    assert raised.value.status == "garbage"


# Images and videos


@pytest.mark.parametrize(
    ("quality", "theirs", "size"),
    [("draft", "low", "1024x1024"), ("standard", "medium", "1536x1024"), ("high", "high", "1024x1536")],
)
def test_an_image_is_in_what_was_accepted(images: OpenAIImage, quality: str, theirs: str, size: str) -> None:
    job = images.job(quality=quality, size=size)
    accepted = images.provider.submit(job)
    picture = Image.open(io.BytesIO(accepted.content))
    assert (picture.format, f"{picture.width}x{picture.height}") == ("PNG", size)
    assert accepted.answer.status == "completed"
    assert accepted.answer.usage["output_tokens"] == 1056
    assert accepted.evidence["said"]["quality"] == theirs
    assert accepted.provider_job_id.startswith(f"image-{job.id}.req_")
    followed = images.follow(job, accepted)
    with pytest.raises(Unknown) as raised:
        images.provider.poll(followed)
    assert raised.value.status == "404"
    with pytest.raises(OutputUnavailable):
        images.fetched(followed, accepted.answer)


@pytest.mark.parametrize(
    "data",
    [
        [], [{}], [{"url": "http://169.254.169.254/latest"}], [{"b64_json": "no base64!"}], [{"b64_json": ""}],
        [{"b64_json": 7}], ["x"],
    ],
)  # fmt: skip
def test_an_image_that_is_not_in_the_answer_is_not_looked_for_elsewhere(images: OpenAIImage, data: Any) -> None:
    images.spoil("submit", edited(data=data))
    job = images.job()
    accepted = images.provider.submit(job)
    assert (accepted.answer.status, accepted.content) == ("completed", None)
    with pytest.raises(OutputUnavailable):
        images.fetched(images.follow(job, accepted), accepted.answer)
    assert len(images.meddler.seen) == 1


def test_an_image_above_the_limit_is_not_taken(images: OpenAIImage, settings: Any) -> None:
    settings.OUTPUT_BYTES_MAX = 100
    assert images.provider.submit(images.job()).content is None


def test_the_images_moderation_is_a_refusal_with_our_code(images: OpenAIImage) -> None:
    with pytest.raises(Refused) as raised:
        images.provider.submit(images.job(prompt="[moderation_blocked]"))
    assert (raised.value.status, raised.value.code) == ("400", "moderation_blocked")
    assert raised.value.evidence["said"]["error"]["type"] == "image_generation_user_error"


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
@pytest.mark.parametrize(
    ("prompt", "status", "code"),
    [
        ("A lighthouse", "completed", None),
        ("[moderation_blocked]", "failed", "moderation_blocked"),
        ("[invalid_request]", "failed", "invalid_request"),
        ("[failed model_overloaded]", "failed", "model_overloaded"),
    ],
)
def test_the_table_of_ends_of_a_video(films: OpenAIVideo, prompt: str, status: str, code: str | None) -> None:
    answer = ended(films.provider, films.submitted(prompt=prompt))
    assert (answer.status, answer.code) == (status, code)


@pytest.mark.filterwarnings("ignore:The Sora API:DeprecationWarning")
def test_a_running_video_says_how_far_it_is_and_cannot_be_stopped(films: OpenAIVideo) -> None:
    job = films.submitted("slow")
    films.server.post("advance", seconds=15)
    answer = films.provider.poll(job)
    assert answer.status == "in_progress"
    assert 50 <= (answer.progress or 0) < 60
    for _ in range(2):
        with pytest.raises(NotCancellable):
            films.provider.cancel(job)


def test_one_client_serves_the_process_and_another_key_has_another(texts: OpenAIScript, settings: Any) -> None:
    provider = OpenAI()
    assert provider._client(True) is OpenAI()._client(True)
    assert provider._client(True) is not provider._client(False)
    settings.OPENAI_API_KEY = "sk-another"
    assert OpenAI()._client(True) is not provider._client(True)
    assert KEY not in repr(vars(provider._client(True)).get("_client"))


def test_base64_of_a_real_size_is_read(images: OpenAIImage) -> None:
    """Twelve million bytes, as a large picture has."""
    large = base64.b64encode(b"\x89PNG\r\n" + b"x" * 12_000_000).decode()
    images.spoil("submit", edited(data=[{"b64_json": large}]))
    assert len(images.provider.submit(images.job()).content) == 12_000_006


def test_an_unfinished_answer_has_no_code(texts: OpenAIScript) -> None:
    job = texts.submitted("slow")
    texts.spoil("poll", edited(error={"code": "left_over", "message": "Old."}))
    answer = texts.provider.poll(job)
    assert (answer.is_terminal, answer.code, answer.message) == (False, None, None)
