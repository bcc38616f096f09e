"""A broker's process, or a worker's: its port, its log, its end; and that it never outlives us."""

import secrets
import signal
import socket
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

HOST: Final = "127.0.0.1"
STOP_SECONDS: Final = 10.0

# Below the range that Linux and macOS lend to outgoing connections. In that range a client that
# keeps reconnecting to a stopped broker can be lent the broker's own port, connect to itself, and
# hold the port against the restart.
_PORTS: Final = range(20_000, 32_000)
_given: Final[set[int]] = set()

# ApiVersions, version 0: what every Kafka client asks first. Size, key 18, version, correlation
# id, no client id.
_API_VERSIONS: Final = bytes.fromhex("0000000a 0012 0000 6d61756d ffff")

# Waits for the end of its standard input, which comes when we close it or die, however we die;
# then kills the broker's process group and removes the temporary folder. A parent-death signal
# would do for Linux alone, and fires as soon as the *thread* that started the broker ends.
_WATCHDOG: Final = 'read -r _; kill -s KILL -- "-$1"; [ -z "$2" ] || rm -rf -- "$2"'


class BrokerError(Exception):
    """No development broker. Start one yourself and name it, or mend what the message says."""


class Process:
    """A process in a session of its own, which ends when we do, unless told otherwise."""

    def __init__(
        self,
        command: Sequence[str],
        log_file: Path,
        temporary: Path | None = None,
        *,
        environment: Mapping[str, str] | None = None,
        outliving: bool = False,
    ) -> None:
        """What it prints goes to the end of `log_file`; `temporary` is removed if we die.

        `environment` takes the place of ours; `outliving` lets it run on when we end.
        """
        with log_file.open("ab") as log:
            # A session of its own: Ctrl-C in the terminal is for us, who then stop it in order.
            self._process = subprocess.Popen(  # noqa: S603  (our own arguments, no shell)
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
                env=environment,
            )
        self._watchdog = None if outliving else _watch(self._process.pid, temporary)

    @property
    def pid(self) -> int:
        """Its number."""
        return self._process.pid

    @property
    def status(self) -> int | None:
        """Its exit status; None while it runs."""
        return self._process.poll()

    def wait(self, seconds: float | None = None) -> int:
        """Block until it ends by itself. Raises subprocess.TimeoutExpired."""
        return self._process.wait(seconds)

    def send(self, number: signal.Signals) -> None:
        """Send a signal. Raises BrokerError when it has ended."""
        if self._process.poll() is not None:
            raise BrokerError("the process is not running")
        self._process.send_signal(number)

    def end(self, how: signal.Signals, seconds: float = STOP_SECONDS) -> None:
        """End it with `how`, forcibly after `seconds`. May be called twice."""
        # The watchdog first: once the process is reaped, its number may be another's.
        watchdog, self._watchdog = self._watchdog, None
        if watchdog is not None and watchdog.stdin is not None:
            watchdog.kill()
            watchdog.wait()
            watchdog.stdin.close()
        self._process.send_signal(how)
        self._process.send_signal(signal.SIGCONT)  # a paused process hears SIGTERM once resumed
        try:
            self._process.wait(seconds)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


def free_port() -> int:
    """A port on which nothing listens now, outside the range of outgoing connections.

    None is given twice: those given may not be listened on yet.
    """
    for _ in range(100):
        port = _PORTS[secrets.randbelow(len(_PORTS))]
        if port not in _given and is_free(port):
            _given.add(port)
            return port
    raise BrokerError(f"no free port on {HOST} between {_PORTS.start} and {_PORTS.stop}")


def is_free(port: int) -> bool:
    """Whether nothing listens on `port`."""
    with socket.socket() as probe:
        # Connections of a broker just stopped may linger; they don't keep a new one from listening.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def answers(port: int) -> bool:
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


def tail(log_file: Path, lines: int = 12) -> str:
    """The last lines of a log."""
    try:
        text = log_file.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return "(no log)"
    return "\n".join(text.splitlines()[-lines:]) or "(an empty log)"
