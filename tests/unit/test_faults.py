"""Which faults may pass by themselves, and what of a fault reaches another process."""

import pickle
import sqlite3
import traceback
from contextlib import closing

import pytest

from evernorm.errors import RegistryError
from tasks.faults import PassingError, UnfitError, mlflow_faults, without_secrets


@pytest.mark.parametrize(
    ("statement", "expected"),
    [
        ("INSERT INTO runs VALUES (1)", PassingError),
        ("CREATE TABLE runs (id)", RegistryError),
        ("INSERT INTO models VALUES (1)", RegistryError),
    ],
)
def test_only_a_database_that_is_locked_is_tried_again(tmp_path, statement, expected):
    """One that is damaged stays so; in either case a sentence says what is wrong, without the SQL."""
    from sqlalchemy import create_engine, text
    from sqlalchemy.pool import NullPool

    path = tmp_path / "mlflow.db"
    with closing(sqlite3.connect(path, isolation_level=None)) as holder:
        holder.execute("CREATE TABLE runs (id)")
        holder.execute("BEGIN IMMEDIATE")
        engine = create_engine(f"sqlite:///{path}", connect_args={"timeout": 0}, poolclass=NullPool)
        with pytest.raises(expected) as caught, mlflow_faults(f"sqlite:///{path}"), engine.begin() as client:
            client.execute(text(statement))
    assert str(path) in caught.value.message
    assert "SQL:" not in caught.value.message


def test_a_fault_keeps_what_it_says_on_its_way_to_another_process():
    """Prefect pickles what a task raises; whoever catches it must still know which class was unfit."""
    error = UnfitError("two classes are at fault", ["one", "the other"])
    error.name = "cloth"
    told = pickle.loads(pickle.dumps(error))  # noqa: S301
    assert (UnfitError, "cloth", ("one", "the other")) == (type(told), told.name, told.faults)
    assert str(error) == str(told)


def test_no_password_is_in_a_message_or_a_traceback():
    """A traceback goes to Prefect's page: what is behind the fault, which names the address whole, is not in it."""
    uri = "http://alice:TOPSECRET@127.0.0.1:9"
    with pytest.raises(PassingError) as caught, mlflow_faults(uri):
        raise ConnectionError(f"cannot reach {uri}")
    assert "TOPSECRET" not in "".join(traceback.format_exception(caught.value))
    shown = without_secrets("postgresql://host/db?user=u&password=TOPSECRET&sslmode=require")
    assert "postgresql://host/db?user=u&password=***&sslmode=require" == shown
