"""The embedded broker: one ``noida-db`` process that speaks Kafka. For development only."""

import os
import shutil
import signal
import sys
import tempfile
import time
from importlib import resources
from pathlib import Path
from typing import Final

from deploy import process
from deploy.process import HOST, BrokerError, Process

START_SECONDS: Final = 30.0


class EmbeddedBroker:
    """A broker process that can be stopped, killed, paused and restarted on the same port.

    `data_dir` outlives it; without one, records live in a temporary folder until `stop`.
    A free port is chosen where `port` is None.
    """

    kind: Final = "embedded"

    def __init__(self, data_dir: Path | None = None, port: int | None = None) -> None:
        self.port = process.free_port() if port is None else port
        self.bootstrap_servers = f"{HOST}:{self.port}"
        self._temporary = data_dir is None
        self.data_dir = (
            Path(tempfile.mkdtemp(prefix="maum-broker-")) if data_dir is None else data_dir
        )
        self.log_file = self.data_dir / "broker.log"
        self._process: Process | None = None

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
        return process.tail(self.log_file, lines)

    def _launch(self) -> None:
        binary = _binary()
        if not process.is_free(self.port):
            # Its own error would come too late: whoever listens there may answer in its place.
            raise BrokerError(f"port {self.port} on {HOST} is already in use")
        self.data_dir.mkdir(parents=True, exist_ok=True)
        command = [str(binary), "start", "--only", "kafka", "--host", HOST]
        command += ["--kafka-port", str(self.port), "--data-dir", str(self.data_dir)]
        # On older systems it warns of its C library at every start: that goes to the log as well.
        self._process = Process(command, self.log_file, self.data_dir if self._temporary else None)

    def _wait_until_it_answers(self) -> None:
        assert self._process is not None  # noqa: S101  (set by the only caller)
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline:
            status = self._process.status
            if status is not None:
                raise BrokerError(
                    f"the embedded broker ended at once with status {status}:\n{self.log_tail()}"
                )
            if process.answers(self.port):
                return
            time.sleep(0.02)
        raise BrokerError(
            f"the embedded broker did not answer on {self.bootstrap_servers} within "
            f"{START_SECONDS:.0f} s:\n{self.log_tail()}"
        )

    def _signal(self, number: signal.Signals) -> None:
        if self._process is None or self._process.status is not None:
            raise BrokerError("the embedded broker is not running")
        self._process.send(number)

    def _end(self, how: signal.Signals) -> None:
        running, self._process = self._process, None
        if running is not None:
            running.end(how)


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
