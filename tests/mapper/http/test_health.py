"""The port for health alone, in front of an application whose event loop hangs."""

import http.client
import json
import os
import signal
import threading
import time

import pytest

import mapper.http.health as health_module
from mapper.http.connection import Limits
from mapper.http.health import HealthPages, Pulse
from mapper.http.server import bind, run


class App:
    """Says which thread answers; `POST /hang` keeps the event loop from turning until `go_on` is set."""

    def __init__(self):
        self.go_on = threading.Event()
        self.hangs = threading.Event()

    async def __call__(self, scope, receive, send):
        if scope["path"] == "/hang":
            self.hangs.set()
            self.go_on.wait(30)
        body = json.dumps(threading.current_thread().name).encode()
        headers = [(b"content-length", b"%d" % len(body))]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": body})


def ask(port, path, method="GET"):
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=30)
    try:
        connection.request(method, path)
        response = connection.getresponse()
        return response.status, response.read().decode()
    finally:
        connection.close()


@pytest.fixture
def running():
    """A server in this process, whose main thread it needs; `play` is called in another one."""

    def start(play, n_workers=1):
        app, pulse = App(), Pulse(n_workers)
        pages = HealthPages(pulse, {"/alive": (b"text/plain", b"yes")}, ("/ready",))
        limits = Limits(10, 30.0, 1.0, beat=pulse.beat)
        failed = []

        def in_thread():
            try:
                while True:
                    try:
                        ask(ports[1], "/alive")
                        break
                    except ConnectionRefusedError:
                        time.sleep(0.01)
                play(app, *ports)
            except BaseException as error:
                failed.append(error)
            finally:
                app.go_on.set()
                os.kill(os.getpid(), signal.SIGTERM)

        before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGINT)}
        with bind("127.0.0.1", 0, shared=False) as listener, bind("127.0.0.1", 0, shared=False) as at:
            ports = listener.getsockname()[1], at.getsockname()[1]
            player = threading.Thread(target=in_thread)
            player.start()
            try:
                run(app, limits, listener, lambda: None, None, (pages, at))
            finally:
                player.join()
                for number, handler in before.items():
                    signal.signal(number, handler)
        if failed:
            raise failed[0]

    return start


def test_the_port_for_health_answers_while_the_other_one_is_busy(running):
    def play(app, port, health_port):
        assert ask(health_port, "/ready") == (200, '"MainThread"')
        assert ask(health_port, "/hang")[0] == 404
        assert ask(health_port, "/alive", "POST")[0] == 405
        busy = threading.Thread(target=ask, args=(port, "/hang"))
        busy.start()
        app.hangs.wait(30)
        assert ask(health_port, "/alive") == (200, "yes")
        app.go_on.set()
        busy.join()

    running(play)


def test_a_server_whose_event_loop_hangs_is_not_alive(running, monkeypatch):
    monkeypatch.setattr(health_module, "HUNG_S", 1.5)

    def play(app, port, health_port):
        busy = threading.Thread(target=ask, args=(port, "/hang"))
        busy.start()
        app.hangs.wait(30)
        while (answer := ask(health_port, "/alive"))[0] == 200:
            time.sleep(0.05)
        assert answer[0] == 503
        assert answer[1].startswith("Worker 0 has not answered for")
        app.go_on.set()
        busy.join()
        while ask(health_port, "/alive")[0] != 200:
            time.sleep(0.05)

    running(play)


def test_one_worker_that_hangs_makes_all_unhealthy(running, monkeypatch):
    monkeypatch.setattr(health_module, "HUNG_S", 1.5)

    def play(app, port, health_port):
        while (answer := ask(health_port, "/alive"))[0] == 200:
            time.sleep(0.05)
        assert answer[1].startswith("Worker 1 has")

    running(play, n_workers=2)
