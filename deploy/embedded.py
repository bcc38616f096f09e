"""The embedded broker: one ``noida-db`` process that speaks Kafka. For development only."""

import os
import secrets
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Final, Literal

HOST: Final = "127.0.0.1"
START_SECONDS: Final = 30.0
STOP_SECONDS: Final = 10.0

# Below the range that Linux and macOS lend to outgoing connections. In that range a client that
# keeps reconnecting to a stopped broker can be lent the broker's own port, connect to itself, and
# hold the port against the restart.
_PORTS: Final = range(20_000, 32_000)

# ApiVersions, version 0: what every Kafka client asks first. Size, key 18, version, correlation
# id, no client id.
_API_VERSIONS: Final = bytes.fromhex("0000000a 0012 0000 6d61756d ffff")

# Waits for the end of its standard input, which comes when we close it or die, however we die;
# then kills the broker's process group and removes the temporary folder. A parent-death signal
# would do for Linux alone, and fires as soon as the *thread* that started the broker ends.
_WATCHDOG: Final = 'read -r _; kill -s KILL -- "-$1"; [ -z "$2" ] || rm -rf -- "$2"'


class BrokerError(Exception):
    """No development broker. Start one yourself and name it, or mend what the message says."""


class EmbeddedBroker:
    """A broker process that can be stopped, killed, paused and restarted on the same port.

    `data_dir` outlives it; without one, records live in a temporary folder until `stop`.
    A free port is chosen where `port` is None.
    """

    kind: Final = "embedded"

    def __init__(self, data_dir: Path | None = None, port: int | None = None) -> None:
        self.port = free_port() if port is None else port
        self.bootstrap_servers = f"{HOST}:{self.port}"
        self._temporary = data_dir is None
        self.data_dir = (
            Path(tempfile.mkdtemp(prefix="maum-broker-")) if data_dir is None else data_dir
        )
        self.log_file = self.data_dir / "broker.log"
        self._process: subprocess.Popen[bytes] | None = None
        self._watchdog: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and return when it answers. Raises BrokerError, with the log's last lines."""
        try:
            self._launch()
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise

    def stop(self) -> None:
        """End it in order, forcibly after `STOP_SECONDS`; remove a temporary folder."""
        self._end(signal.SIGTERM)
        if self._temporary:
            shutil.rmtree(self.data_dir, ignore_errors=True)

    def kill(self) -> None:
        """End it with SIGKILL, as a crash would; `restart` brings it back.

        It acknowledges records before they are on disk: what it took in its last second or so is
        lost. Don't prove durability with it.
        """
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Start again on the same port and records; stops it first where it still runs."""
        self._end(signal.SIGTERM)
        self.start()

    def pause(self) -> None:
        """Freeze the process: connections stay open, nothing is answered."""
        self._signal(signal.SIGSTOP)

    def resume(self) -> None:
        """Let a paused process go on."""
        self._signal(signal.SIGCONT)

    def wait(self) -> int:
        """Block until the process ends by itself, and return its exit status."""
        if self._process is None:
            raise BrokerError("the embedded broker is not running")
        return self._process.wait()

    def log_tail(self, lines: int = 12) -> str:
        """The last lines of what the process printed."""
        try:
            text = self.log_file.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return "(no log)"
        return "\n".join(text.splitlines()[-lines:]) or "(an empty log)"

    def _launch(self) -> None:
        binary = _binary()
        if not _is_free(self.port):
            # Its own error would come too late: whoever listens there may answer in its place.
            raise BrokerError(f"port {self.port} on {HOST} is already in use")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "start", "--only", "kafka", "--host", HOST]
        command += ["--kafka-port", str(self.port), "--data-dir", str(self.data_dir)]
        # On older systems it warns of its C library at every start: that goes to the log as well.
        with self.log_file.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop it in order.
            self._process = subprocess.Popen(  # noqa: S603  (our own arguments, no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self._watchdog = _watch(self._process.pid, self.data_dir if self._temporary else None)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101  (set by the only caller)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status = self._process.poll()
            if status is not None:
                raise BrokerError(
                    f"the embedded broker ended at once with status {status}:\n{self.log_tail()}"
                )
            if _answers(self.port):
                return
            time.sleep(0.02)
        raise BrokerError(
            f"the embedded broker did not answer on {self.bootstrap_servers} within "
            f"{START_SECONDS:.0f} s:\n{self.log_tail()}"
        )

    def _signal(self, number: Literal[signal.Signals.SIGSTOP, signal.Signals.SIGCONT]) -> None:
        if self._process is None or self._process.poll() is not None:
            raise BrokerError("the embedded broker is not running")
        self._process.send_signal(number)

    def _end(self, how: Literal[signal.Signals.SIGTERM, signal.Signals.SIGKILL]) -> None:
        process, self._process = self._process, None
        watchdog, self._watchdog = self._watchdog, None
        # The watchdog first: once the process is reaped, its number may be another's.
        if watchdog is not None and watchdog.stdin is not None:
            watchdog.kill()
            watchdog.wait()
            watchdog.stdin.close()
        if process is None:
            return
        process.send_signal(how)
        process.send_signal(signal.SIGCONT)  # a paused process hears SIGTERM only once resumed
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def free_port() -> int:
    """A port on which nothing listens now, outside the range of outgoing connections."""
    for _ in range(100):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        if _is_free(port):
            return port
    raise BrokerError(f"no free port on {HOST} between {_PORTS.start} and {_PORTS.stop}")


def _is_free(port: int) -> bool:
    with socket.socket() as probe:
        # Connections of a broker just stopped may linger; they don't keep a new one from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def _binary() -> Path:
    """The program itself; the command of the same name is a Python wrapper that signals miss."""
    try:
        binary = Path(str(resources.files("noida_db"))) / "noida-db"
    except ModuleNotFoundError:
        raise BrokerError(
            "no broker: set KAFKA_BOOTSTRAP_SERVERS, start Docker, or install the embedded one "
            f"({sys.executable} -m pip install noida-db)"
        ) from None
    if not os.access(binary, os.X_OK):
        binary.chmod(0o755)  # its wheel leaves that to the wrapper
    return binary


def _answers(port: int) -> bool:
    """Whether a Kafka broker answers ApiVersions: an open port alone may be anyone's."""
    try:
        with socket.create_connection((HOST, port), timeout=1) as connection:
            connection.sendall(_API_VERSIONS)
            head = connection.recv(8, socket.MSG_WAITALL)
    except OSError:
        return False
    return head[4:] == _API_VERSIONS[8:12]


def _watch(pid: int, temporary: Path | None) -> "subprocess.Popen[bytes]":
    return subprocess.Popen(  # noqa: S603  (our own arguments; the script is a constant)
        ["/bin/sh", "-c", _WATCHDOG, "maum-broker-watchdog", str(pid), str(temporary or "")],
        stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
