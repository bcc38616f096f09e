"""A promoted version with files that are not what they should be never stops a worker."""

import asyncio
import hashlib
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from aiokafka.errors import KafkaError, TopicAuthorizationFailedError
from onnx import TensorProto, helper
from structlog.testing import capture_logs

from schemas.manifest import Int8Check
from schemas.promotion import ModelPromotion
from worker import kafka, parts, promotions, topics
from worker.classifier import Classifier
from worker.engines import kept
from worker.limits import TooLargeError
from worker.metrics import Metrics
from worker.promotions import Promotions
from worker.settings import WorkerSettings

from . import tiny
from .shelf import promote


async def look(spec: str, options: WorkerSettings) -> tuple[list[Classifier], float, list[Any]]:
    """What is swapped in, how many refusals are counted, and what is logged as an error."""
    swapped: list[Classifier] = []
    metrics = Metrics()
    watcher = Promotions(
        spec, lambda version: parts.promoted(options, version), swapped.append, metrics, 1.0
    )
    with capture_logs() as logs:
        serving = await watcher._look("old")
        await watcher._look(serving)  # once is enough
    errors = [log for log in logs if log["log_level"] == "error"]
    return swapped, metrics.model_refusals._value.get(), errors


@pytest.fixture
def model(tiny_model: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(tiny_model, tmp_path / "maum" / "7"))


@pytest.fixture
def options(tmp_path: Path, request: pytest.FixtureRequest) -> WorkerSettings:
    precision = getattr(request, "param", "auto")
    return WorkerSettings(
        device="cpu", precision=precision, threads=1, cache_dir=tmp_path / "cache"
    )


def config(**changes: object) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        path = folder / "config.json"
        path.write_text(json.dumps(json.loads(path.read_text()) | changes))

    return edit


def body(name: str, content: bytes) -> Callable[[Path], None]:
    return lambda folder: void((folder / name).write_bytes(content))


def void(_: object) -> None:
    """For a lambda that is called for what it does."""


def cut_weights(folder: Path) -> None:
    path = folder / "model.safetensors"
    path.write_bytes(path.read_bytes()[:-1000])


def no_config(folder: Path) -> None:
    (folder / "config.json").unlink()


def a_tokenizer_that_fails_on_what_it_does_not_know(folder: Path) -> None:
    path = folder / "tokenizer.json"
    tokenizer = json.loads(path.read_text())
    tokenizer["model"]["unk_token"] = "[NOBODY]"  # noqa: S105  (no password)
    path.write_text(json.dumps(tokenizer))


def vocabulary_alone(settings: bytes, words: bytes | None = None) -> Callable[[Path], None]:
    def edit(folder: Path) -> None:
        tiny.with_vocabulary_alone(folder)
        (folder / "tokenizer_config.json").write_bytes(settings)
        if words is not None:
            (folder / "vocab.txt").write_bytes(words)

    return edit


BERT = b'{"tokenizer_class": "BertTokenizer"}'
HOSTILE: dict[str, Callable[[Path], None]] = {
    "weights cut short": cut_weights,
    "weights empty": body("model.safetensors", b""),
    "weights garbage": body("model.safetensors", b"x" * 999),
    "config missing": no_config,
    "config a list": body("config.json", b"[]"),
    "config nested deeply": body("config.json", b'{"a":' * 99_999 + b"1" + b"}" * 99_999),
    "architectures a number": config(architectures=7),
    "labels a number": config(id2label=7),
    "labels a list": config(id2label=[1]),
    "labels null": config(id2label=None),
    "vocabulary null": config(vocab_size=None),
    "positions a word": config(max_position_embeddings="x"),
    "positions none": config(max_position_embeddings=1),
    "layers without end": config(num_hidden_layers=10**12),
    "labels without end": config(num_labels=10**12),
    "heads none": config(num_attention_heads=0),
    "size a word": config(hidden_size="x"),
    "activation unknown": config(hidden_act="x"),
    "type an object": config(model_type={}),
    "tokenizer cut short": body("tokenizer.json", b'{"version":'),
    "tokenizer a list": body("tokenizer.json", b"[]"),
    "tokenizer of no unknown word": a_tokenizer_that_fails_on_what_it_does_not_know,
    "tokenizer settings null": body("tokenizer_config.json", b"null"),
    "old tokenizer's settings null": vocabulary_alone(b"null"),
    "old tokenizer's class a number": vocabulary_alone(b'{"tokenizer_class": 3}'),
    "old tokenizer's class unknown": vocabulary_alone(b'{"tokenizer_class": "NoTokenizer"}'),
    "old tokenizer's vocabulary empty": vocabulary_alone(BERT, b""),
    "old tokenizer's vocabulary not UTF-8": vocabulary_alone(BERT, b"\xff\xfe\n"),
}


@pytest.mark.parametrize("options", ["auto", "bf16"], indirect=True)
@pytest.mark.parametrize("name", HOSTILE)
async def test_it_is_refused_counted_and_told_in_one_line_and_the_old_model_serves_on(
    model: Path, options: WorkerSettings, name: str
) -> None:
    HOSTILE[name](model)
    swapped, refusals, errors = await look(promote(model, model.parents[1]), options)
    assert swapped == []
    assert refusals == 1
    (error,) = errors
    assert error["event"] == "promoted model refused; the old one serves on"
    assert error["version"] == "7"
    assert error["error"]
    assert "\n" not in error["error"]


async def test_a_sound_one_is_swapped_in(model: Path, options: WorkerSettings) -> None:
    (new,), refusals, errors = await look(promote(model, model.parents[1]), options)
    assert (new.model.version, refusals, errors) == ("7", 0, [])


async def test_one_that_cannot_be_fetched_is_told_counted_and_tried_again(
    model: Path, options: WorkerSettings
) -> None:
    spec, away = promote(model, model.parents[1]), model.with_name("away")
    swapped: list[Classifier] = []
    metrics = Metrics()
    watcher = Promotions(
        spec, lambda version: parts.promoted(options, version), swapped.append, metrics, 1.0
    )
    shutil.move(model, away)
    with capture_logs() as logs:
        serving = await watcher._look("old")
    shutil.move(away, model)
    assert (serving, swapped, metrics.model_refusals._value.get()) == ("old", [], 1)
    (warning,) = logs
    assert (warning["log_level"], warning["version"]) == ("warning", "7")
    assert "cannot be fetched" in warning["error"]
    await watcher._look(serving)
    assert [each.model.version for each in swapped] == ["7"]


async def test_one_that_has_no_room_now_is_tried_again(
    model: Path, options: WorkerSettings
) -> None:
    spec = promote(model, model.parents[1])
    full, swapped = [True], list[Classifier]()

    def load(version: ModelPromotion) -> Classifier:
        if full.pop():
            raise TooLargeError("no room")
        return parts.promoted(options, version)

    watcher = Promotions(spec, load, swapped.append, Metrics(), 1.0)
    assert await watcher._look("old") == "old"
    full.append(False)
    await watcher._look("old")
    assert [each.model.version for each in swapped] == ["7"]


async def test_a_refused_one_is_tried_again_when_it_is_told_of_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    class Told:
        """A consumer that reads one record."""

        def __init__(self, **_: object) -> None:
            self.records = iter([b"{}"])

        async def start(self) -> None:
            pass

        def assign(self, _: object) -> None:
            pass

        async def seek_to_end(self) -> None:
            pass

        def __aiter__(self) -> "Told":
            return self

        async def __anext__(self) -> bytes:
            for record in self.records:
                return record
            raise KafkaError

    async def stop(_: object) -> None:
        pass

    monkeypatch.setattr(promotions, "AIOKafkaConsumer", Told)
    monkeypatch.setattr(kafka, "stop", stop)
    watcher = Promotions("registry:none", none, void, Metrics(), poll_seconds=HOUR)
    watcher._refused = "0" * 64
    with pytest.raises(KafkaError):
        await watcher._listen({}, "models", 1, late=False)
    assert watcher._heard.is_set()
    assert watcher._refused is None


def ship(model: Path, graph: bytes) -> None:
    """Put `graph` where a publisher puts the model's int8 graph, with all that vouches for it."""
    folder = model / "engines" / kept.key(model)
    folder.mkdir(parents=True)
    (folder / kept.GRAPH).write_bytes(graph)
    stated = kept.ExportManifest(
        model_sha256=kept.model_hash(model),
        golden_sha256="0" * 64,
        messages=1,
        difference=0.0,
        exact=True,
        int8=Int8Check(agreement=1.0, macro_f1_delta=0.0, used=True),
        graph_sha256=hashlib.sha256(graph).hexdigest(),
    )
    (folder / kept.MANIFEST).write_text(stated.model_dump_json())


def graph_of(name: str) -> bytes:
    """A sound graph that has nothing to do with the model."""
    shape = [name]
    given = helper.make_tensor_value_info("x", TensorProto.FLOAT, shape)
    found = helper.make_tensor_value_info("y", TensorProto.FLOAT, shape)
    node = helper.make_node("Identity", ["x"], ["y"])
    made = helper.make_graph([node], "other", [given], [found])
    opsets = [helper.make_opsetid("", 17)]
    serialised: bytes = helper.make_model(
        made, opset_imports=opsets, ir_version=8
    ).SerializeToString()
    return serialised


@pytest.mark.parametrize("graph", [b"garbage", graph_of("rows")], ids=["garbage", "another's"])
async def test_a_graph_that_is_none_of_its_own_does_not_serve(
    model: Path, options: WorkerSettings, graph: bytes
) -> None:
    ship(model, graph)
    (new,), refusals, _ = await look(promote(model, model.parents[1]), options)
    assert (new.engine.name, refusals) == ("torch-cpu", 0)


HOUR = 3600.0


def none(_: object) -> Classifier:
    """Nothing is to be loaded."""
    raise AssertionError


class Listening:
    """A listener for a topic that is, in turn, as it is told: partitions, none, or an error."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, *turns: int | KafkaError | None) -> None:
        self.turns = list(turns)
        self.late: bool | None = None
        self.listening = asyncio.Event()
        self.watcher = Promotions("registry:none", none, void, Metrics(), poll_seconds=HOUR)
        monkeypatch.setattr(promotions, "FIRST_PAUSE", 0.001)
        monkeypatch.setattr(topics, "partitions", self._partitions)
        monkeypatch.setattr(self.watcher, "_listen", self._listen)

    async def _partitions(self, *_: object) -> int | None:
        turn = self.turns.pop(0)
        if isinstance(turn, KafkaError):
            raise turn
        return turn

    async def _listen(self, *_: object, late: bool) -> None:
        self.late = late
        self.listening.set()
        await asyncio.Event().wait()

    async def run(self) -> list[Any]:
        """Until it listens; what it logged."""
        with capture_logs() as logs:
            task = asyncio.create_task(self.watcher.listen({}, "emotion.models"))
            async with asyncio.timeout(10):
                await self.listening.wait()
            task.cancel()
            await asyncio.wait({task})
        return logs


async def test_a_topic_that_is_made_later_is_listened_to_without_waiting_for_the_next_poll(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listening = Listening(monkeypatch, None, None, 1)
    assert await listening.run() == []  # that it is missing was said at the start
    assert listening.late  # what was told meanwhile is looked for
    assert listening.turns == []


async def test_a_topic_that_may_not_be_read_is_one_warning_however_often_it_is_tried(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    refused = TopicAuthorizationFailedError("emotion.models")
    (warning,) = await Listening(monkeypatch, refused, refused, refused, 1).run()
    assert warning["log_level"] == "warning"
    assert warning["reason"].startswith("no right to use the topic emotion.models: grant Read")


async def test_a_topic_that_is_there_at_once_is_listened_to_without_a_look(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    listening = Listening(monkeypatch, 1)
    assert await listening.run() == []
    assert listening.late is False
