"""A server that is away is waited for, in one way everywhere, and whoever started the run is told; no test here sleeps."""

import logging
import threading
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest

from evernorm.errors import PipelineError
from evernorm.files import write_json
from flows import ahead
from flows.commands import cli, runner, stopping
from flows.commands.learn import follow_writers
from infra.services.ports import free_ports
from tasks import retries
from tasks.faults import PassingError
from tasks.fleet import snapshot
from tasks.fleet.checkout import FOLDER, checked_out
from tasks.fleet.snapshot import REFS
from tasks.workspace.workspace import Workspace
from tests.helpers.workspaces import git

ALL = [1, 2, 5, 10, 20, 30]


@pytest.fixture
def slept(monkeypatch):
    """The seconds that were to be waited; ``slept.then(number, do)`` does something in that pause."""

    class Slept(list):
        def then(self, number: int, do: Callable[[], object]) -> None:
            self._what = (number, do)

        def __call__(self, seconds: float) -> None:
            self.append(seconds)
            number, do = getattr(self, "_what", (None, None))
            if len(self) == number:
                do()

    told = Slept()
    monkeypatch.setattr(retries, "sleep", told)
    monkeypatch.setattr(retries, "_told", {})
    return told


@pytest.fixture
def shared(tmp_path):
    """A workspace, its Git remote with one commit more, and where that remote is while it is away."""
    workspace = Workspace.open_or_create(tmp_path / "workspace")
    origin, away = tmp_path / "origin.git", tmp_path / "away.git"
    git(tmp_path, "init", "-q", "--bare", str(origin))
    workspace.git("remote", "add", "origin", str(origin))
    tree = workspace.git("rev-parse", "HEAD^{tree}")
    theirs = workspace.git("commit-tree", tree, "-p", "HEAD", "-m", "Of another writer")
    branch = workspace.git("branch", "--show-current")
    workspace.git("push", "-q", "origin", f"{theirs}:refs/heads/{branch}", f"{theirs}:{REFS}/{theirs}")
    origin.rename(away)
    return workspace, origin, away, theirs


def test_a_command_that_begins_while_the_git_remote_is_away_waits_for_it(shared, slept, capsys):
    """And goes on with what it holds; a person is told once what for."""
    workspace, origin, away, theirs = shared
    slept.then(3, lambda: away.rename(origin))
    follow_writers(workspace.root)
    assert theirs == workspace.head
    assert ALL[:3] == slept
    said = capsys.readouterr().err
    assert 1 == said.count("waiting: the Git remote origin does not answer")


def test_where_it_does_not_come_back_nothing_has_changed(shared, slept):
    """After as many tries as a task has; the next command does not find the workspace held."""
    workspace, origin, away, theirs = shared
    before = workspace.head
    with pytest.raises(PassingError, match="the Git remote origin does not answer"):
        follow_writers(workspace.root)
    assert ALL == slept == retries.RETRIED["retry_delay_seconds"]
    assert (before, "") == (workspace.head, workspace.git("status", "--porcelain"))
    away.rename(origin)
    follow_writers(workspace.root)
    assert theirs == workspace.head


def test_a_builder_waits_for_the_git_remote(shared, slept, tmp_path, monkeypatch):
    """Rather than leave the class to the writer."""
    _, origin, away, theirs = shared
    monkeypatch.setenv(FOLDER, str(tmp_path / "checkouts"))
    slept.then(2, lambda: away.rename(origin))
    with checked_out(str(origin), theirs) as checkout:
        assert theirs == checkout.head
    assert ALL[:2] == slept


def test_nothing_is_left_for_builders_where_the_prefect_server_is_lost(shared, slept, monkeypatch):
    """What was handed over is taken down without it."""
    workspace, origin, away, theirs = shared
    away.rename(origin)

    def handed(*_: object) -> tuple[str, str]:
        write_json(workspace.root / snapshot._NOTE, [theirs])
        return str(origin), theirs

    def lost(*_: object) -> None:
        raise ConnectionError

    monkeypatch.setattr(ahead, "_check_deployed", lambda _: "")
    monkeypatch.setattr(ahead, "hand_over", handed)
    monkeypatch.setattr(ahead, "_built", lost)
    with pytest.raises(ConnectionError):
        ahead._build(workspace, workspace, ["cloth"])
    assert "" == git(origin, "for-each-ref", "refs/evernorm")


def test_what_does_not_pass_is_not_waited_for(slept):
    """Only a fault that may pass by itself is."""
    with pytest.raises(ZeroDivisionError):
        retries.waited(lambda: 1 // 0)
    assert [] == slept


def test_a_task_tells_what_it_waits_for(slept, capsys):
    """Once an outage, however often it tries again; nothing of faults that it does not wait for."""
    from prefect.states import Failed

    for _ in range(2):
        assert retries.is_passing(None, None, Failed(data=PassingError("S3 is out of reach")))
    assert not retries.is_passing(None, None, Failed(data=ValueError("no number")))
    assert "waiting: S3 is out of reach\n" == capsys.readouterr().err


@contextmanager
def answering(port: int, statuses: list[int]) -> Iterator[None]:
    """A server that gives these answers one after another, the last one for ever."""

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            known = "csrf" not in self.path
            status = (statuses.pop(0) if len(statuses) > 1 else statuses[0]) if known else 404
            self.send_response(status)
            self.send_header("Retry-After", "0")
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.rfile.read(int(self.headers.get("Content-Length", 0)))
            self.wfile.write(b"[]")

        def do_POST(self) -> None:
            self.do_GET()

        def log_message(self, *_: object) -> None:
            pass

    server = HTTPServer(("127.0.0.1", port), Answer)
    thread = threading.Thread(target=server.serve_forever, args=(0.01,))
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@pytest.fixture
def named(monkeypatch):
    """The port of a Prefect server that PREFECT_API_URL names."""
    from prefect.settings import PREFECT_API_URL, temporary_settings

    (port,) = free_ports()
    monkeypatch.setenv("PREFECT_API_URL", f"http://127.0.0.1:{port}/api")
    with temporary_settings({PREFECT_API_URL: f"http://127.0.0.1:{port}/api"}):
        yield port


def test_a_run_that_begins_while_the_prefect_server_is_away_waits_for_it(named, slept, capsys):
    """Told once."""
    with ExitStack() as stack:
        slept.then(1, lambda: stack.enter_context(answering(named, [200])))
        runner.reach_server()
    assert ALL[:1] == slept
    assert 1 == capsys.readouterr().err.count("waiting: no Prefect server answers")


@pytest.mark.parametrize("status", [500, 503])
def test_a_prefect_server_that_has_lost_its_database_is_waited_for(named, slept, status):
    """It answers, but not what it is asked."""
    with answering(named, [status, status, 200]):
        runner.reach_server()
    assert ALL[:2] == slept


def test_a_prefect_server_that_refuses_is_not_waited_for(named, slept):
    """A key that is wrong stays so."""
    with answering(named, [401]), pytest.raises(PipelineError, match="no Prefect server answers"):
        runner.reach_server()
    assert [] == slept


def test_a_prefect_server_that_is_away_for_good_is_told_of(named, slept, monkeypatch):
    """Nobody asks where none is named, as the command starts its own then."""
    monkeypatch.setattr(retries, "_DELAYS", ALL[:1])  # httpx takes its time too
    with pytest.raises(PassingError, match="no Prefect server answers"):
        runner.reach_server()
    monkeypatch.delenv("PREFECT_API_URL")
    runner.reach_server()
    assert ALL[:1] == slept


@pytest.fixture
def prefect_log(monkeypatch):
    """The log of Prefect's client, and what is said of logs, are afterwards as they were."""
    log = logging.getLogger("prefect.client")
    level = log.level
    monkeypatch.setattr(logging, "raiseExceptions", logging.raiseExceptions)
    yield
    log.setLevel(level)
    log.removeFilter(runner._tell_waiting)


def test_a_person_is_told_that_prefect_s_client_waits(named, slept, capsys, monkeypatch, prefect_log):
    """Where the run waits, not where Prefect does beside it or a server is busy for a moment.

    In words that are Prefect's own: this fails where they change.
    """
    from prefect.client import base
    from prefect.client.orchestration import get_client

    runner.tell_outages()
    monkeypatch.setattr(base.time, "sleep", lambda _seconds: None)
    said = []
    for name, away in (("beside", 2), (runner._RUN, 1), (runner._RUN, 2)):
        monkeypatch.setattr(threading.current_thread(), "name", name)
        with answering(named, [503] * away + [200]), get_client(sync_client=True) as client:
            assert client.api_healthcheck() is None
        said.append(capsys.readouterr().err)
    assert ["", ""] == said[:2]
    assert "waiting: no Prefect server answers" in said[2]


def test_a_run_whose_prefect_server_is_lost_ends_at_once_with_a_sentence(
    named, monkeypatch, capfd, prefect_log
):
    """Status 1, and Prefect is given no time to tell a server that is gone what it has not heard."""
    import httpx

    def lost() -> None:
        raise httpx.ConnectError("All connection attempts failed")

    ended: list[int] = []
    monkeypatch.setattr(runner, "stop_on_signals", lambda: None)
    monkeypatch.setattr(cli, "leave_on_signals", lambda: None)
    monkeypatch.setattr(cli, "app", lambda: runner.run_flow(lost))
    monkeypatch.setattr(stopping, "kill_children", lambda: None)
    monkeypatch.setattr(stopping.os, "_exit", ended.append)
    with answering(named, [200]):
        cli.main()
    assert [1] == ended
    said = capfd.readouterr().err
    assert said.startswith("evernorm: no Prefect server answers")
    assert 1 == said.count("\n")
