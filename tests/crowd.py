"""Clients that ask a server all the time, while it is told to end."""

import contextlib
import http.client
import random
import socket
import threading
import time
from dataclasses import dataclass, field


@dataclass
class Crowd:
    """Half of the clients keep their connections, half take a new one for each request."""

    port: int
    message: bytes
    n_clients: int = 20
    statuses: list[int] = field(default_factory=list)
    lost: list[str] = field(default_factory=list)

    def outlast(self, end):
        """Ask until nobody listens any more; `end` is called when every client got some answers."""
        clients = [threading.Thread(target=self._ask, args=(number,)) for number in range(self.n_clients)]
        for client in clients:
            client.start()
        while len(self.statuses) < 10 * self.n_clients and not self.lost:
            time.sleep(0.01)
        end()
        for client in clients:
            client.join()

    def _ask(self, number):
        random_pause = random.Random(number)
        keeps = number % 2 == 0
        connection = None
        while True:
            if connection is None or _is_closed(connection):
                try:
                    connection = socket.create_connection(("127.0.0.1", self.port), timeout=30)
                except OSError:
                    return
            try:
                connection.sendall(self.message)
                response = http.client.HTTPResponse(connection)
                response.begin()
                response.read()
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(repr(error))
                connection.close()
                return
            self.statuses.append(response.status)
            if response.will_close or not keeps:
                connection.close()
                connection = None
            time.sleep(random_pause.random() / 100)


def _is_closed(connection):
    """Whether the server has closed the connection before anything was sent."""
    connection.setblocking(False)
    try:
        with contextlib.suppress(BlockingIOError):
            connection.recv(1)
            connection.close()
            return True
    finally:
        if connection.fileno() >= 0:
            connection.settimeout(30)
    return False
