"""Aliases move whole or not at all, and what the workers follow is what was promoted."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import fsspec
import pytest

from schemas.promotion import ModelPromotion
from trainer import promote
from trainer.depot import Depot, RegistryError
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import parts
from worker import registry as workers
from worker.config import ModelError
from worker.metrics import Metrics
from worker.promotions import Promotions
from worker.settings import SettingsError, WorkerSettings

from .conftest import full_after, s3_at
from .stored import Failing, put

NOW = "2026-11-24T04:00:00.000Z"


def test_the_worker_finds_what_was_promoted(tiny_model: Path, given: TrainerSettings) -> None:
    promotion = put(tiny_model, given)
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == promotion.version
    assert (found.folder / "model.safetensors").read_bytes() == (
        tiny_model / "model.safetensors"
    ).read_bytes()
    store = Registry(given.registry, given.name)
    assert store.versions.names() == [promotion.version]
    assert store.alias("champion") == promotion
    assert (promotion.previous_version, promotion.metrics) == (None, {"macro_f1": 0.8})


def test_of_two_trainers_one_wins_and_the_other_says_so(
    tiny_model: Path, given: TrainerSettings
) -> None:
    """Both compared with the same champion: whoever comes second compared with an old one."""
    put(tiny_model, given, "2026-11-24")
    with pytest.raises(RegistryError, match="another trainer was first"):
        put(tiny_model, given, "2026-11-25")
    assert len(Registry(given.registry, given.name).versions.names()) == 2


def test_a_registry_that_cannot_be_written_is_one_line(
    tmp_path: Path, tiny_model: Path, options: TrainerSettings
) -> None:
    (tmp_path / "file").write_text("")
    bad = options.model_copy(update={"registry": str(tmp_path / "file" / "registry")})
    with pytest.raises(RegistryError, match="cannot be written to: Not a directory"):
        put(tiny_model, bad)


def test_a_disk_that_has_no_room_for_an_alias_leaves_the_old_one_and_nothing_else(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    store = Registry(options.registry, options.name)
    with full_after(9), pytest.raises(RegistryError, match="champion cannot be moved: "):
        store.move("champion", first.version, expected=first.version, metrics={}, now=NOW)
    assert store.alias("champion") == first
    aliases = Path(options.registry) / "aliases"
    assert [each.name for each in aliases.iterdir()] == ["champion.json"]


@pytest.mark.parametrize(
    ("call", "ask"),
    [
        ("exists", lambda store, _: store.is_withdrawn("champion", "1")),
        ("exists", lambda store, _: store.aliases()),
        ("exists", lambda store, _: store.versions.names()),
        ("exists", lambda store, _: store.versions.require("1")),
        ("exists", lambda store, standing: store.previous(standing)),
        ("ls", lambda store, _: store.aliases()),
        ("ls", lambda store, _: store.versions.names()),
        ("cat_file", lambda store, _: store.alias("champion")),
        ("cat_file", lambda store, standing: store.previous(standing)),
    ],
)
def test_a_registry_that_does_not_answer_is_one_line(
    tiny_model: Path,
    given: TrainerSettings,
    call: str,
    ask: Callable[[Registry, ModelPromotion], object],
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    store = Registry(given.registry, given.name)
    store._depot.files = Failing(store._depot.files, call)
    with pytest.raises(RegistryError, match=r"cannot be .*: Input/output error$"):
        ask(store, second)


def test_a_kind_of_registry_that_is_not_installed_is_one_line(
    tiny_model: Path, options: TrainerSettings
) -> None:
    bad = options.model_copy(update={"registry": "nosuch://bucket"})
    with pytest.raises(SettingsError, match="TRAINER_REGISTRY: nosuch") as caught:
        put(tiny_model, bad)
    assert "\n" not in str(caught.value)


def test_workers_are_told_of_the_whole_url_but_for_its_password(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """What sftp's file system makes of a path has no host."""
    files = fsspec.filesystem("memory")
    monkeypatch.setattr(fsspec.core, "url_to_fs", lambda _: (files, "/srv/models"))
    depot = Depot("sftp://maum:secret@host:22/srv/models/")
    assert depot.uri("/srv/models/maum/1") == "sftp://maum@host:22/srv/models/maum/1"


def test_a_url_that_lacks_what_its_store_needs_is_one_line(
    tiny_model: Path, given: TrainerSettings, monkeypatch: pytest.MonkeyPatch
) -> None:
    promotion = put(tiny_model, given)

    def lacking(_: str) -> None:
        raise TypeError("missing 1 required positional argument: 'host'")

    monkeypatch.setattr(fsspec.core, "url_to_fs", lacking)
    with pytest.raises(ModelError, match="cannot be fetched: TypeError"):
        workers.fetch(promotion.model_copy(update={"sha256": "0" * 64}))
    with pytest.raises(SettingsError, match="TRAINER_REGISTRY: sftp:///srv cannot be opened"):
        Depot("sftp:///srv")


async def test_an_object_store_that_is_away_is_one_line_and_the_worker_serves_on(
    tiny_model: Path,
    options: TrainerSettings,
    bucket: str,
    monkeypatch: pytest.MonkeyPatch,
    unused_tcp_port: int,
) -> None:
    """What its library raises then is no OSError."""
    given = options.model_copy(update={"registry": bucket})
    promotion = put(tiny_model, given)
    spec = f"registry:{bucket}#champion"
    swapped: list[Any] = []
    metrics = Metrics()
    watcher = Promotions(
        spec, lambda found: parts.promoted(WorkerSettings(), found), swapped.append, metrics, 1.0
    )
    nowhere = s3_at(f"http://127.0.0.1:{unused_tcp_port}")
    with monkeypatch.context() as away:
        away.setitem(fsspec.config.conf, "s3", nowhere)
        with pytest.raises(RegistryError, match=r"cannot be read: Could not connect"):
            Registry(bucket, given.name).alias("champion")
        with pytest.raises(RegistryError, match="cannot be written to: Could not connect"):
            put(tiny_model, given, "2026-11-25", expected=promotion.version)
        with pytest.raises(ModelError, match="cannot be read: EndpointConnectionError"):
            workers.read_alias(spec)
        with pytest.raises(workers.FetchError, match="cannot be fetched: EndpointConnection"):
            workers.fetch(promotion)
        assert await watcher._look("old") == "old"
    assert not swapped
    assert await watcher._look("old") == promotion.sha256
    assert [each.model.version for each in swapped] == [promotion.version]


@pytest.mark.parametrize("body", [b"", b"{", b'{"name": "maum"}'])
def test_an_alias_that_is_damaged_says_what_mends_it_and_that_does(
    tiny_model: Path, given: TrainerSettings, body: bytes
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    files, root = fsspec.core.url_to_fs(given.registry)
    path = f"{root}/aliases/champion.json"
    files.pipe_file(path, body)
    told = f"{path} is no ModelPromotion; `python -m trainer rollback VERSION` writes it anew"
    with pytest.raises(RegistryError, match=told) as caught:
        promote.rollback(given)
    assert f"(there are: {first.version}, {second.version})" in str(caught.value)
    with pytest.raises(RegistryError, match=told):
        put(tiny_model, given, "2026-11-26", expected=second.version)
    assert files.cat_file(path) == body
    moved = promote.rollback(given, first.version)
    assert (moved.version, moved.previous_version) == (first.version, None)
    assert Registry(given.registry, given.name).alias("champion") == moved
