"""The network between a worker and the cluster, which can be cut and mended."""

import asyncio
from collections.abc import Iterable
from contextlib import suppress

from deploy.kafka.node import Ports
from deploy.process import HOST


class Network:
    """Forwards each node's `proxy` port to its `inner` listener."""

    def __init__(self, ports: Iterable[Ports]) -> None:
        self._ports = list(ports)
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.StreamWriter] = set()
        self._open = asyncio.Event()
        self._open.set()

    async def start(self) -> None:
        for ports in self._ports:

            async def accept(
                reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: int = ports.inner
            ) -> None:
                await self._forward(reader, writer, inner)

            self._servers.append(await asyncio.start_server(accept, HOST, ports.proxy))

    def freeze(self) -> None:
        """Nothing passes any more, and nobody is told: a cable pulled."""
        self._open.clear()

    def reset(self) -> int:
        """End every connection, as a firewall that restarts does; how many there were."""
        for writer in self._connections:
            writer.transport.abort()
        return len(self._connections)

    def mend(self) -> None:
        """All passes again."""
        self._open.set()

    async def stop(self) -> None:
        self.mend()
        for server in self._servers:
            server.close()
        self.reset()

    async def _forward(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, inner: int
    ) -> None:
        try:
            there, back = await asyncio.open_connection(HOST, inner)
        except OSError:
            writer.transport.abort()
            return
        self._connections |= {writer, back}
        try:
            await asyncio.gather(self._pump(reader, back), self._pump(there, writer))
        finally:
            self._connections -= {writer, back}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while data := await reader.read(65_536):
                await self._open.wait()
                writer.write(data)
                await writer.drain()
        writer.close()
