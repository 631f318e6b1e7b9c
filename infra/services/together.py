"""Services as one set: up, down, and what is there. What runs is noted in a file, so that another process finds it."""

import fcntl
import json
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil

from evernorm.errors import MachineError
from infra.services.ports import is_free, owner
from infra.services.service import Service, stop

Say = Callable[[str], None]


def up(home: Path, stages: Sequence[Sequence[Service]], say: Say) -> None:
    """Start what does not run yet, stage by stage; those of a stage start at once.

    Args:
        home: The folder of the set.
        stages: Its services, with the processes that `running` has found; each stage needs those before.
        say: Takes a line about each.

    Raises:
        MachineError: A port is in use by something else, a service runs and is not healthy, or did not start. What
            this call had started is ended then; what ran before is left.
    """
    every = [service for stage in stages for service in stage]
    missing = [service for service in every if not service.alive]
    faults = [
        f"{service.name} runs (process {_pid(service)}) and is not healthy; see {service.log}, or `make down` and again"
        for service in every
        if service.alive and not service.healthy()
    ] + [fault for service in missing for fault in _taken(service)]
    if faults:
        raise MachineError("nothing was started", faults)
    begun: list[Service] = []
    try:
        for stage in stages:
            new = [service for service in stage if not service.alive]
            for service in stage:
                if service not in new:
                    say(f"{service.name} runs already: {service.url} (process {_pid(service)})")
            for service in new:
                begun.append(service)
                service.begin()
                note(home, every)
            for service in new:
                service.wait()
                say(f"{service.name} started: {service.url} (process {_pid(service)})")
    except BaseException:
        _end([[service for service in stage if service in begun] for stage in stages])
        note(home, every)
        say("what had been started is ended")
        raise


def down(home: Path, stages: Sequence[Sequence[Service]], say: Say) -> None:
    """End what runs, the last first, and say so; what was stored stays."""
    there = [[service for service in stage if service.alive] for stage in stages]
    names = [service.name for stage in reversed(there) for service in stage]
    _end(there)
    note(home, [])
    say(f"ended: {', '.join(names)}" if names else "nothing runs")


def status(stages: Sequence[Sequence[Service]], say: Say) -> bool:
    """Say what is there, a line each, and whether all of it is healthy."""
    whole = True
    for service in (service for stage in stages for service in stage):
        how = "is down" if not service.alive else "is healthy" if service.healthy() else "is not healthy"
        whole &= how == "is healthy"
        say(f"{service.name} {how}{f': {service.url} (process {_pid(service)})' if service.alive else ''}")
    return whole


@contextmanager
def alone(home: Path) -> Iterator[None]:
    """Two who start or end the same set do so one after the other."""
    home.mkdir(parents=True, exist_ok=True)
    with (home / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def running(home: Path) -> dict[str, tuple[psutil.Process, tuple[int, ...]]]:
    """The processes that were noted and are still the same, with their ports, by service."""
    found = {}
    with suppress(FileNotFoundError):
        for name, noted in json.loads((home / "running.json").read_text()).items():
            with suppress(psutil.NoSuchProcess):
                process = psutil.Process(noted["process"])
                if abs(process.create_time() - noted["created"]) < 1:  # a number is given again
                    found[name] = (process, tuple(noted["ports"]))
    return found


def note(home: Path, services: Sequence[Service]) -> None:
    """Write down what runs."""
    notes: dict[str, Any] = {
        service.name: {
            "process": service.process.pid,
            "created": service.process.create_time(),
            "ports": service.ports,
        }
        for service in services
        if service.process is not None and service.alive
    }
    beside = home / "running.json.new"
    beside.write_text(json.dumps(notes, indent=2))
    beside.replace(home / "running.json")


def _end(stages: Sequence[Sequence[Service]]) -> None:
    for stage in reversed(stages):
        stop(stage)


def _taken(service: Service) -> list[str]:
    choose = (
        f'choose another: make up PORTS="{service.name}={service.ports[0] + 1000}"' if service.ports else ""
    )
    return [
        f"port {port}, which {service.name} needs, is in use by {owner(port)}; end that, or {choose}"
        for port in service.ports
        if not is_free(port)
    ]


def _pid(service: Service) -> int | None:
    return service.process.pid if service.process else None
