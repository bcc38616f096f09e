"""The settings of the contract, and how mistakes in them are told."""

import subprocess
import sys
from pathlib import Path

import pytest

from worker import __main__ as program
from worker import settings
from worker.settings import BUNDLED_MODEL, KafkaSettings, SettingsError, WorkerSettings

pytestmark = pytest.mark.usefixtures("clean_environment")

ROOT = Path(__file__).resolve().parents[2]

CONTRACT = {
    "KAFKA_BOOTSTRAP_SERVERS": "localhost:9092",
    "KAFKA_SECURITY_PROTOCOL": "PLAINTEXT",
    "KAFKA_SASL_MECHANISM": "PLAIN",
    "KAFKA_SASL_USERNAME": None,
    "KAFKA_SASL_PASSWORD": None,
    "KAFKA_SSL_CAFILE": None,
    "KAFKA_SSL_CERTFILE": None,
    "KAFKA_SSL_KEYFILE": None,
    "WORKER_GROUP_ID": "maum-worker",
    "WORKER_INPUT_TOPIC": "chat.messages",
    "WORKER_EMOTION_TOPIC": "chat.emotions",
    "WORKER_REVIEW_TOPIC": "chat.emotions.review",
    "WORKER_DEAD_LETTER_TOPIC": "chat.messages.dlq",
    "WORKER_DELIVERY": "exactly_once",
    "WORKER_MODEL": str(BUNDLED_MODEL),
    "WORKER_MODELS_TOPIC": "emotion.models",
    "WORKER_MODEL_POLL_SECONDS": 30.0,
    "WORKER_DEVICE": "auto",
    "WORKER_PRECISION": "auto",
    "WORKER_MAX_LENGTH": 256,
    "WORKER_MAX_BATCH_TOKENS": 0,
    "WORKER_MAX_WAIT_MS": 50.0,
    "WORKER_MARGIN_THRESHOLD": 0.20,
    "WORKER_REVIEW_SAMPLE_RATE": 0.01,
    "WORKER_LOW_MARGIN_EVENTS": "publish",
    "WORKER_ADMIN_HOST": "127.0.0.1",
    "WORKER_ADMIN_PORT": 9400,
    "WORKER_LOG_FORMAT": "console",
    "WORKER_START_SECONDS": 60.0,
    "WORKER_DRAIN_SECONDS": 20.0,
}


def mistakes(capsys: pytest.CaptureFixture[str]) -> list[str]:
    """The lines of a command that is refused for its settings."""
    assert program.main(["classify"]) == 2
    output = capsys.readouterr()
    assert not output.out
    lines = output.err.splitlines()
    assert all(line.startswith("worker: ") for line in lines)
    return [line.removeprefix("worker: ") for line in lines]


@pytest.mark.parametrize(("name", "default"), CONTRACT.items(), ids=CONTRACT)
def test_every_setting_of_the_contract_has_its_default(name: str, default: object) -> None:
    kind = KafkaSettings if name.startswith("KAFKA_") else WorkerSettings
    loaded = settings.load(kind)
    assert getattr(loaded, name.partition("_")[2].lower()) == default


def test_settings_come_from_the_environment_before_the_env_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / ".env").write_text("WORKER_GROUP_ID=file\nWORKER_MAX_LENGTH=64\n")
    monkeypatch.setenv("WORKER_GROUP_ID", "environment")
    loaded = settings.load(WorkerSettings)
    assert (loaded.group_id, loaded.max_length) == ("environment", 64)


def test_an_unknown_setting_is_refused_with_a_suggestion(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_MAX_LENGHT", "64")
    assert mistakes(capsys) == [
        "WORKER_MAX_LENGHT: unknown setting; did you mean WORKER_MAX_LENGTH?"
    ]


def test_an_unknown_setting_in_the_env_file_is_refused_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_text("WORKER_DELIVERRY=at_least_once\nOTHER=1\n")
    assert mistakes(capsys) == ["WORKER_DELIVERRY: unknown setting; did you mean WORKER_DELIVERY?"]


@pytest.mark.parametrize(
    ("name", "meant"),
    [
        ("worker_max_lenght", "WORKER_MAX_LENGTH"),
        ("KAFKA_BOOTSTRAP_SERVER", "KAFKA_BOOTSTRAP_SERVERS"),
        ("KAFKA_SASL_MECHANISMS", "KAFKA_SASL_MECHANISM"),
        ("kafka_ssl_key_file", "KAFKA_SSL_KEYFILE"),
    ],
)
def test_a_misspelt_setting_is_refused_in_lower_case_and_of_the_cluster_as_well(
    monkeypatch: pytest.MonkeyPatch, name: str, meant: str
) -> None:
    monkeypatch.setenv(name, "8")
    with pytest.raises(SettingsError) as caught:
        settings.load(KafkaSettings if meant.startswith("KAFKA_") else WorkerSettings)
    assert caught.value.mistakes == [f"{name}: unknown setting; did you mean {meant}?"]


def test_a_setting_in_lower_case_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("worker_max_length", "8")
    assert settings.load(WorkerSettings).max_length == 8


def test_what_belongs_to_kafkas_own_tools_is_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in (
        "KAFKA_HOME",
        "KAFKA_HEAP_OPTS",
        "KAFKA_LOG_DIRS",
        "KAFKA_SSL_KEY_PASSWORD",
        "KAFKA_SASL_ENABLED_MECHANISMS",
        "KAFKA_LISTENER_SECURITY_PROTOCOL_MAP",
        "KAFKA_SECURITY_INTER_BROKER_PROTOCOL",
    ):
        monkeypatch.setenv(name, "1")
    settings.load(KafkaSettings)


def test_an_env_file_that_is_not_utf_8_is_one_line(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_bytes("WORKER_GROUP_ID=마음\n".encode("cp949"))
    assert mistakes(capsys) == [".env: is not UTF-8 (its byte 17); save it as that"]


def test_an_env_file_that_cannot_be_read_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").touch()

    def refuse(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")  # root, who may run this, is never refused

    monkeypatch.setattr("worker.settings.dotenv_values", refuse)
    assert mistakes(capsys) == [".env: cannot be read: Permission denied"]


def test_what_kubernetes_injects_for_a_service_called_worker_is_ignored(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for name in (
        "WORKER_SERVICE_HOST",
        "WORKER_SERVICE_PORT",
        "WORKER_SERVICE_PORT_ADMIN",
        "WORKER_PORT",
        "WORKER_PORT_9400_TCP",
        "WORKER_PORT_9400_TCP_ADDR",
    ):
        monkeypatch.setenv(name, "10.0.0.1")
    settings.load(WorkerSettings)


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("WORKER_MARGIN_THRESHOLD", "1.5"),
        ("WORKER_MARGIN_THRESHOLD", "-0.1"),
        ("WORKER_MARGIN_THRESHOLD", "nan"),
        ("WORKER_REVIEW_SAMPLE_RATE", "2"),
        ("WORKER_ADMIN_PORT", "70000"),
        ("WORKER_DELIVERY", "at_most_once"),
        ("WORKER_INPUT_TOPIC", "no spaces"),
        ("WORKER_GROUP_ID", ""),
        ("WORKER_MAX_LENGTH", "long"),
        ("WORKER_MODEL", ""),
        ("WORKER_LOG_FORMAT", "xml"),
    ],
)
def test_a_value_out_of_range_is_one_line_that_names_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    (line,) = mistakes(capsys)
    assert line.startswith(f"{name}: ")
    assert line.endswith(f"(given: {value!r})")


@pytest.mark.parametrize(
    "servers", ["", "kafka:", "kafka:nine", "kafka:0", "kafka:99999", "a:1,,b:2", "a b:1", "::1"]
)
def test_servers_that_are_no_addresses_are_one_line(
    monkeypatch: pytest.MonkeyPatch, servers: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    with pytest.raises(SettingsError) as caught:
        settings.load(KafkaSettings)
    (line,) = caught.value.mistakes
    assert line.startswith(
        "KAFKA_BOOTSTRAP_SERVERS: must be host:port, several separated by commas"
    )
    assert line.endswith(f"(given: {servers!r})")


@pytest.mark.parametrize("servers", ["kafka", "a-1.b_c:1, 10.0.0.1:65535", "[::1]:9092,[fe80::1]"])
def test_servers_are_names_or_addresses_with_a_port_or_without(
    monkeypatch: pytest.MonkeyPatch, servers: str
) -> None:
    monkeypatch.setenv("KAFKA_BOOTSTRAP_SERVERS", servers)
    assert settings.load(KafkaSettings).bootstrap_servers == servers


def test_several_mistakes_are_several_lines(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_MARGIN_THRESHOLD", "2")
    monkeypatch.setenv("WORKER_DEVICE", "tpu")
    monkeypatch.setenv("WORKER_COLOUR", "red")
    lines = mistakes(capsys)
    assert sorted(line.partition(":")[0] for line in lines) == [
        "WORKER_COLOUR",
        "WORKER_DEVICE",
        "WORKER_MARGIN_THRESHOLD",
    ]


def test_topics_must_differ(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("WORKER_EMOTION_TOPIC", "chat.messages")
    assert mistakes(capsys) == [
        "the input, emotion, review and dead letter topics must be four topics"
    ]


def test_a_password_is_never_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("KAFKA_SASL_PASSWORD", "hunter2")
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "SASL_SSL")
    with pytest.raises(SettingsError, match="KAFKA_SASL_USERNAME") as caught:
        settings.load(KafkaSettings)
    assert "hunter2" not in str(caught.value)
    monkeypatch.setenv("KAFKA_SASL_USERNAME", "me")
    assert "hunter2" not in repr(settings.load(KafkaSettings))


def test_help_lists_every_setting_and_loads_nothing_heavy() -> None:
    code = (
        "import sys\n"
        "from worker.__main__ import main\n"
        "try:\n    main(['--help'])\n"
        "finally:\n"
        "    heavy = {'torch', 'transformers', 'aiokafka', 'numpy'} & set(sys.modules)\n"
        "    print('heavy:', *sorted(heavy), file=sys.stderr)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True
    )
    assert done.stderr == "heavy:\n"
    assert [name for name in CONTRACT if f"  {name} (" not in done.stdout] == []


@pytest.mark.parametrize(
    "arguments",
    [[], ["clasify"], ["run", "--now"], ["topics", "--partitions=0"], ["run", "two\nlines"]],
    ids=str,
)
def test_a_wrong_argument_is_one_line_and_exits_with_2(
    capsys: pytest.CaptureFixture[str], arguments: list[str]
) -> None:
    with pytest.raises(SystemExit) as caught:
        program.main(arguments)
    assert caught.value.code == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("python -m worker")


def test_a_file_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert program.main(["classify", "nowhere.jsonl"]) == 2
    assert capsys.readouterr().err == (
        "worker: nowhere.jsonl cannot be read: No such file or directory\n"
    )


@pytest.mark.parametrize("command", ["run", "check", "topics"])
def test_the_mistakes_of_cluster_and_worker_are_told_at_once(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], command: str
) -> None:
    monkeypatch.setenv("KAFKA_SECURITY_PROTOCOL", "PLAIN")
    monkeypatch.setenv("WORKER_MAX_LENGTH", "none")
    assert program.main([command]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [line.split()[1] for line in lines] == ["KAFKA_SECURITY_PROTOCOL:", "WORKER_MAX_LENGTH:"]


def test_a_file_that_cannot_be_read_is_told_once(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / ".env").write_bytes(b"WORKER_GROUP_ID=\xff\n")
    assert program.main(["check"]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
