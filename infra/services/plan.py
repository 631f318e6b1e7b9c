"""Which services there are on one machine, and how they are wired."""

import shutil
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from infra.services.servers import POSTGRES, S3, MLflow, Postgres, Prefect
from infra.services.service import Service
from infra.services.together import running
from infra.services.worker import Worker

PORTS = {"postgres": 5433, "s3": 8333, "mlflow": 5000, "prefect": 4200}
"""Where the servers listen unless another port is asked for; S3 takes the seven above its own too."""


@dataclass(frozen=True)
class Plan:
    """The set on this machine.

    Attributes:
        stages: The services; each stage needs those before.
        offered: Those that users are clients of.
        remarks: What is otherwise than elsewhere.
    """

    stages: tuple[tuple[Service, ...], ...]
    offered: tuple[Service, ...]
    remarks: tuple[str, ...]


def plan(home: Path, ports: Mapping[str, int]) -> Plan:
    """Lay out the services of a folder; those that run are found again, with the ports that they have.

    Args:
        home: The folder of the set.
        ports: Ports other than `PORTS`, by server.
    """
    found = running(home)
    port = {**PORTS, **ports, **{name: its[0] for name, (_, its) in found.items() if its}}
    remarks = []
    s3 = S3(home, port["s3"], ("dvc", "inbox", "mlflow"))
    database = None
    if POSTGRES or "postgres" in found:
        database = Postgres(home, port["postgres"], ("mlflow", "prefect"))
    else:
        remarks.append("PostgreSQL is not installed (apt-get install postgresql): SQLite, for trying it out")
    stores: tuple[Service, ...] = (database, s3) if database else (s3,)
    runs = database.uri("psycopg2", "mlflow") if database else f"sqlite:///{home / 'mlflow/mlflow.db'}"
    mlflow = MLflow(home, port["mlflow"], runs, "s3://mlflow/artifacts", stores)
    prefect = Prefect(home, port["prefect"], database)
    offered = (prefect, mlflow, s3)
    pools = ["cpu", "gpu", "writer"]
    if "gpu" not in found and not _has_gpu():
        pools.remove("gpu")
        remarks.append("no GPU here (nvidia-smi -L): no worker of the pool gpu")
    workers = tuple(Worker(home, pool, offered) for pool in pools)
    stages = (stores, (mlflow, prefect), workers)
    for service in (service for stage in stages for service in stage):
        service.process = found[service.name][0] if service.name in found else None
    return Plan(stages, offered, tuple(remarks))


def _has_gpu() -> bool:
    if shutil.which("nvidia-smi") is None:
        return False
    asked = subprocess.run(["nvidia-smi", "-L"], capture_output=True, text=True, check=False)
    return asked.returncode == 0 and "GPU" in asked.stdout
