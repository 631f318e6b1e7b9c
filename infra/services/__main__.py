"""``python -m infra.services up|down|status``: the servers and workers of many machines, on this one."""

import argparse
import sys
from pathlib import Path

from evernorm.errors import EvernormError, ParamsError
from infra.services import together
from infra.services.plan import PORTS, Plan, plan
from infra.services.ports import is_port
from infra.services.service import client_environment

HOME = Path(__file__).parents[2] / ".services"


def main() -> int:
    """Run what the command line asks for; 1: it failed, or not all is healthy."""
    parser = argparse.ArgumentParser(prog="python -m infra.services", description=__doc__)
    parser.add_argument("what", choices=("up", "down", "status"))
    listed = ", ".join(f"{name}={port}" for name, port in PORTS.items())
    parser.add_argument("ports", nargs="*", metavar="SERVER=PORT", help=f"other ports than {listed}")
    parser.add_argument(
        "--home", type=Path, default=HOME, help="logs, data, keys; .services of the repository"
    )
    asked = parser.parse_intermixed_args()
    home = asked.home.resolve()
    try:
        ports = _ports(asked.ports)
        with together.alone(home):
            services = plan(home, ports)
            if asked.what == "down":
                together.down(home, services.stages, _say)
            elif asked.what == "status":
                return 0 if together.status(services.stages, _say) else 1
            else:
                for remark in services.remarks:
                    _say(remark)
                together.up(home, services.stages, _say)
                _tell(home, services)
    except EvernormError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _ports(words: list[str]) -> dict[str, int]:
    ports, faults = {}, []
    for word in words:
        name, _, port = word.partition("=")
        if name in PORTS and is_port(port):
            ports[name] = int(port)
        else:
            faults.append(f"{word!r}: expected one of {', '.join(PORTS)}, '=' and a port from 1024 to 65000")
    if faults:
        raise ParamsError("these are no ports of servers", faults)
    return ports


def _tell(home: Path, services: Plan) -> None:
    """Say what users need, and write it down with the keys, which are not shown."""
    variables = client_environment(services.offered)
    file, here = home / "environment", Path.cwd()
    file.touch(mode=0o600)
    file.write_text("".join(f"export {name}={value}\n" for name, value in variables.items()))
    _say(f"logs in {home / 'logs'}")
    for name, value in variables.items():
        if not name.startswith("AWS_") or name == "AWS_ENDPOINT_URL":
            _say(f"export {name}={value}")
    shown = file.relative_to(here) if file.is_relative_to(here) else file
    _say(f"these and the keys of S3 (buckets dvc, inbox and mlflow): source {shown}")


def _say(line: str) -> None:
    print(line, flush=True)


if __name__ == "__main__":
    sys.exit(main())
