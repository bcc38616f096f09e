"""The worker's path without Kafka: lines in, emotion events out, in input order."""

import asyncio
from codecs import BOM_UTF8
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from time import time
from typing import BinaryIO, NamedTuple

import orjson

from schemas.deadletter import Reason
from worker import codec
from worker.classifier import ModelId
from worker.codec import Chat, DecodeError, Headers
from worker.decision import Decision
from worker.engines import InferenceError, Tokens
from worker.inference import Inference, Verdict
from worker.offsets import OffsetTracker
from worker.outcome import Router
from worker.settings import WorkerSettings

CHUNK_BYTES = 262_144
IN_FLIGHT_TOKENS = 65_536
FIRST_LINES = 64  # that are tokenised in one go, doubling up to
MOST_LINES = 1024


class Line(NamedTuple):
    """One input line as a record: its place in the input is its offset."""

    offset: int
    value: bytes
    timestamp: int
    topic: str = "lines"
    partition: int = 0
    key: bytes | None = None
    headers: Headers = ()


@dataclass(slots=True)
class Job:
    """A line that waits for its decision."""

    line: Line
    chat: Chat
    truncated: bool
    tokens: int
    run: "Run"

    def wanted(self) -> bool:
        """Always: nobody takes a line back."""
        return True

    def resolve(self, verdict: Verdict, model: ModelId) -> None:
        """Hand the event's line, or the complaint, to the run."""
        self.run.in_flight -= self.tokens
        if isinstance(verdict, Decision):
            self.run.finish(self.line, self._event(verdict, model))
        else:
            self.run.finish(self.line, f"unclassifiable: {verdict}")

    def _event(self, decision: Decision, model: ModelId) -> bytes:
        router = self.run.router
        return codec.encode(router.fields(self.line, self.chat, decision, model, self.truncated))


class Run:
    """One pass over a file."""

    def __init__(  # noqa: PLR0913  (where answers, complaints and ends go, and how many are owed)
        self,
        inference: Inference,
        settings: WorkerSettings,
        write: Callable[[bytes], object],
        complain: Callable[[str], object],
        flush: Callable[[], object] = lambda: None,
        *,
        in_flight_tokens: int = IN_FLIGHT_TOKENS,
    ) -> None:
        """`write` takes one event's bytes, `complain` one line about a bad input line.

        `flush` is called whenever all that was read is answered: nobody waits for a full buffer.
        Beyond `in_flight_tokens` that wait for their answer nothing more is tokenised.
        """
        self.router = Router(settings)
        self.in_flight = 0  # tokens
        self.bad = 0
        self._inference = inference
        self._max_bytes = settings.max_message_bytes
        self._write = write
        self._complain = complain
        self._flush = flush
        self._in_flight_tokens = in_flight_tokens
        self._tracker: OffsetTracker[bytes | str] = OffsetTracker(0)
        self._released = asyncio.Event()

    async def classify(self, file: BinaryIO) -> int:
        """Classify every line of `file`; how many were bad (each complained of, none lost)."""
        serving = asyncio.create_task(self._inference.run())
        try:
            feeding = asyncio.create_task(self._feed(file))
            await asyncio.wait({serving, feeding}, return_when=asyncio.FIRST_COMPLETED)
            if serving.done():
                feeding.cancel()
                _raise_first(serving)
            await feeding
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)
            self._inference.close()
        return self.bad

    async def _feed(self, file: BinaryIO) -> None:
        offset, begun, more = 0, [b""], True
        while more:
            # read1: what is there now, so that a pipe that trickles is answered at once
            chunk = await asyncio.to_thread(file.read1, CHUNK_BYTES)  # type: ignore[attr-defined]
            more = bool(chunk)
            begun.append(chunk)
            if more and b"\n" not in chunk:
                continue  # a line longer than a chunk is put together once
            *lines, rest = b"".join(begun).split(b"\n")
            begun = [rest]
            if not more and rest:
                lines = [rest]
            if lines and not offset:  # files from Windows begin with a mark that is no text
                lines[0] = lines[0].removeprefix(BOM_UTF8)
            now_ms = int(time() * 1000)
            records = [
                Line(offset + place, line.removesuffix(b"\r"), now_ms)
                for place, line in enumerate(lines)
            ]
            offset += len(records)
            await self._submit(records)
        while not self._tracker.empty:
            await self._wait_for_release()

    async def _submit(self, records: Sequence[Line]) -> None:
        size, first = FIRST_LINES, 0
        while first < len(records):
            await self._submit_part(records[first : first + size])
            # Few lines to begin with, so that the device is not idle while the others are read.
            first, size = first + size, min(2 * size, MOST_LINES)

    async def _submit_part(self, records: Sequence[Line]) -> None:
        messages: list[tuple[Line, Chat]] = []
        for record in records:
            self._tracker.take_in(record.offset)
            try:
                messages.append((record, read(record, self._max_bytes)))
            except DecodeError as error:
                self.finish(record, f"{error.reason}: {error}")
        while self.in_flight > self._in_flight_tokens:
            await self._wait_for_release()
        if not messages:
            return
        encoded = await self._inference.tokenize([chat.text for _, chat in messages])
        jobs: list[tuple[Job, Tokens]] = []
        for (record, chat), each in zip(messages, encoded, strict=True):
            if isinstance(each, InferenceError):
                self.finish(record, f"{Reason.UNCLASSIFIABLE}: {each}")
            else:
                job = Job(record, chat, each.truncated, len(each.tokens), self)
                jobs.append((job, each.tokens))
        self.in_flight += sum(job.tokens for job, _ in jobs)
        self._inference.submit(jobs)

    async def _wait_for_release(self) -> None:
        self._released.clear()
        await self._released.wait()

    def finish(self, line: Line, result: bytes | str) -> None:
        """Take a line's result, and write out all that is now in order."""
        self._tracker.complete(line.offset, result)
        if not self._tracker.ready:
            return
        first = self._tracker.first
        results, _ = self._tracker.release(1_000_000)
        for place, each in enumerate(results):
            if isinstance(each, bytes):
                self._write(each)
            else:
                self.bad += 1
                self._complain(f"line {first + place + 1}: {each}")
        if self._tracker.empty:
            self._flush()
        self._released.set()


def _raise_first(serving: "asyncio.Task[None]") -> None:
    """Raise what ended `serving`, out of the group that its batches ran in."""
    try:
        serving.result()
    except ExceptionGroup as group:
        raise group.exceptions[0] from None


def read(line: Line, max_bytes: int) -> Chat:
    """A ChatMessage as JSON, or else the line itself as the text. Raises DecodeError."""
    text = line.value.strip()
    # A quote after the brace is meant as JSON even where the line was cut short or goes on.
    if text.startswith(b"{") and (text.endswith(b"}") or text[1:].lstrip().startswith(b'"')):
        return codec.decode(text, max_bytes)
    # Plain text takes the same way as JSON does, so the same limits and complaints hold.
    try:
        body = line.value.decode("utf-8")
    except UnicodeDecodeError as error:
        raise DecodeError(Reason.UNDECODABLE, f"UnicodeDecodeError: {error.reason}") from None
    message = {"message_id": str(line.offset + 1), "text": body}
    return codec.decode(orjson.dumps(message), max_bytes)
