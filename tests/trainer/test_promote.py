"""The alias goes back as it went on: once, to what is whole, and Kafka is told."""

from pathlib import Path

import fsspec
import pytest
from structlog.testing import capture_logs

from trainer import promote
from trainer.depot import RegistryError
from trainer.promote import AnnounceError
from trainer.registry import Registry
from trainer.settings import TrainerSettings
from worker import kafka
from worker import registry as workers
from worker.settings import KafkaSettings

from .commands import Listening, command, without_rights
from .stored import put
from .test_collect import a_promotion


def test_rollback_goes_to_what_served_before_however_often_it_is_said(
    tiny_model: Path, given: TrainerSettings
) -> None:
    """Whoever says it again has not heard that it was done; back and forth needs a name."""
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    store = Registry(given.registry, given.name)
    for _ in range(3):
        assert promote.rollback(given).version == first.version
        assert promote.rollback(given, first.version).version == first.version
        assert store.is_withdrawn("champion", second.version)
    assert promote.rollback(given, second.version).version == second.version
    assert not store.is_withdrawn("champion", second.version)
    assert promote.rollback(given, first.version).version == first.version
    found = workers.resolve(f"registry:{given.registry}#champion")
    assert found.model.version == first.version


def test_a_rollback_killed_before_the_alias_moved_is_done_by_the_next(
    tiny_model: Path, given: TrainerSettings
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    Registry(given.registry, given.name).withdraw("champion", second.version)
    assert promote.rollback(given).version == first.version


def test_an_alias_that_was_lost_is_pointed_at_a_version_again(
    tiny_model: Path, given: TrainerSettings
) -> None:
    first = put(tiny_model, given)
    files, root = fsspec.core.url_to_fs(given.registry)
    files.rm_file(f"{root}/aliases/champion.json")
    assert promote.rollback(given, first.version).version == first.version
    with pytest.raises(RegistryError, match="is the first"):
        promote.rollback(given)


def test_the_command_moves_the_alias_back_and_tells_kafka(
    tiny_model: Path,
    given: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = put(tiny_model, given)
    second = put(tiny_model, given, "2026-11-25", expected=first.version)
    kafka, store = Listening(monkeypatch), Registry(given.registry, given.name)
    for arguments, expected in ((), first), ([second.version], second):
        assert command(given, monkeypatch, "rollback", *arguments) == 0
        assert f"rollback: champion is {expected.version} now" in capsys.readouterr().out
        standing = store.alias("champion")
        assert standing is not None
        assert (standing.version, standing.sha256) == (expected.version, expected.sha256)
        assert kafka.told[-1] == ("emotion.models", b"maum", standing)
    assert len(kafka.told) == 2
    assert command(given, monkeypatch, "rollback", "7") == 1
    assert "no version 7 of maum" in capsys.readouterr().err
    assert len(kafka.told) == 2


def test_a_broker_that_is_away_is_waited_for_and_then_a_line_says_what_that_means(
    options: TrainerSettings,
) -> None:
    impatient = options.model_copy(update={"kafka_seconds": 1.0})
    connection = kafka.connection(KafkaSettings(bootstrap_servers="127.0.0.1:1"))
    with (
        capture_logs() as logs,
        pytest.raises(AnnounceError, match=r"did not answer for 1 s .* at their next look"),
    ):
        promote.announce(a_promotion(), connection, impatient)
    assert {each["event"] for each in logs} == {"Kafka does not answer; trying again"}


def test_there_is_nothing_to_roll_back_to_at_first(
    tiny_model: Path, given: TrainerSettings
) -> None:
    with pytest.raises(RegistryError, match="points at nothing yet"):
        promote.rollback(given)
    put(tiny_model, given)
    with pytest.raises(RegistryError, match="is the first"):
        promote.rollback(given)
    with pytest.raises(RegistryError, match="no version 7 of maum"):
        promote.rollback(given, "7")


def test_what_is_no_model_of_six_is_not_promoted(tmp_path: Path, options: TrainerSettings) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(RegistryError, match=r"holds no config\.json"):
        put(tmp_path / "empty", options)
    assert not Path(options.registry).exists()


def test_a_registry_without_write_rights_is_one_line_and_its_alias_stays(
    tiny_model: Path, options: TrainerSettings
) -> None:
    first = put(tiny_model, options)
    second = put(tiny_model, options, "2026-11-25", expected=first.version)
    root = Path(options.registry)
    folders = [each for each in (root, *root.rglob("*")) if each.is_dir()]
    for folder in folders:
        folder.chmod(0o500)
    done = without_rights(options, "rollback")
    told = f"trainer: {root} cannot be written to: Permission denied\n"
    assert (done.returncode, done.stdout, done.stderr) == (1, "", told)
    for folder in folders:
        folder.chmod(0o700)
    assert Registry(options.registry, options.name).alias("champion") == second


def test_the_command_mends_a_damaged_alias(
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    quiet = options.model_copy(update={"announce": False})
    first = put(tiny_model, quiet)
    capsys.readouterr()
    (Path(quiet.registry) / "aliases/champion.json").write_bytes(b"")
    assert command(quiet, monkeypatch, "rollback") == 1
    assert capsys.readouterr().err.count("\n") == 1
    assert command(quiet, monkeypatch, "rollback", first.version) == 0
    assert f"rollback: champion is {first.version} now" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (b"{", "adopt: what stood in the place of champion was no ModelPromotion"),
        (None, "adopt: champion pointed at nothing, though {} stands in the registry"),
    ],
)
def test_adopting_in_place_of_an_alias_that_is_lost_says_so(
    tiny_model: Path,
    options: TrainerSettings,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
    *,
    body: bytes | None,
    told: str,
) -> None:
    quiet = options.model_copy(update={"announce": False})
    before = put(tiny_model, quiet)
    alias = Path(quiet.registry) / "aliases/champion.json"
    alias.unlink()
    if body:
        alias.write_bytes(body)
    assert command(quiet, monkeypatch, "adopt", str(tiny_model)) == 0
    assert told.format(before.version) in capsys.readouterr().err
    standing = Registry(quiet.registry, quiet.name).alias("champion")
    assert standing is not None
    assert standing.version != before.version
