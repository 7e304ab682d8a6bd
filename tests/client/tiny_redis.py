"""A Redis of this process that speaks just enough RESP for the client's unit tests."""

from __future__ import annotations

import socketserver
import time


class TinyRedis(socketserver.ThreadingTCPServer):
    """Speaks enough RESP for GET, SET, DEL, MGET, UNLINK, PTTL and WAIT (one replica); says `refusals` first.

    `naps`: seconds that it takes over each of the next commands. ROLE and INFO are answered with `role` and `run_id`,
    or refused unless it `tells`.
    """

    daemon_threads = True
    allow_reuse_address = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Connection)
        self.data: dict[str, str] = {}
        self.refusals: list[str] = []
        self.commands: list[str] = []
        self.naps: list[float] = []
        self.role, self.run_id, self.tells = "master", "a1", True

    def answer(self, name: str, arguments: list[str]) -> str:
        self.commands.append(name)
        if name == "AUTH":
            return "+OK\r\n"
        if name in ("ROLE", "INFO"):
            return self.about_itself(name)
        if self.naps:
            time.sleep(self.naps.pop(0))
        if self.refusals:
            return f"-{self.refusals.pop(0)}\r\n"
        if name == "SET":
            self.data[arguments[0]] = arguments[1]
            return "+OK\r\n"
        if name in ("DEL", "UNLINK"):
            return f":{sum(self.data.pop(key, None) is not None for key in arguments)}\r\n"
        if name == "MGET":
            return f"*{len(arguments)}\r\n" + "".join(_bulk(self.data.get(key)) for key in arguments)
        if name == "WAIT":
            return ":1\r\n"
        if name == "PTTL":
            return ":-1\r\n"
        return _bulk(self.data.get(arguments[0])) if name == "GET" else "+PONG\r\n"

    def about_itself(self, name: str) -> str:
        if not self.tells:
            return f"-NOPERM User app has no permissions to run the '{name.lower()}' command\r\n"
        return _bulk(f"# Server\r\nrun_id:{self.run_id}\r\n") if name == "INFO" else f"*1\r\n{_bulk(self.role)}"


class _Connection(socketserver.StreamRequestHandler):
    server: TinyRedis

    def handle(self) -> None:
        while header := self.rfile.readline():
            words = []
            for _ in range(int(header[1:])):
                words.append(self.rfile.read(int(self.rfile.readline()[1:]) + 2)[:-2].decode())
            self.wfile.write(self.server.answer(words[0], words[1:]).encode())


def _bulk(value: str | None) -> str:
    return "$-1\r\n" if value is None else f"${len(value)}\r\n{value}\r\n"
