"""An S3 prefix as a place that holds files. Endpoint, region and credentials are boto3's usual AWS_* variables."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256 as sha256_of
from pathlib import Path
from typing import Any

from evernorm.errors import DataError, PipelineError
from tasks.faults import storage_faults
from tasks.inbox.storage import SMALL, Incoming, Stored, checked, key_fault

_ABSENT = {"404", "NoSuchKey"}
_REFUSED = {"403": "Forbidden", "AccessDenied": "AccessDenied", "InvalidObjectState": "InvalidObjectState"}


@dataclass(frozen=True)
class S3Storage:
    """Objects below a prefix of a bucket; what was sent carries its SHA-256 as metadata."""

    bucket: str
    prefix: str

    @property
    def place(self) -> str:
        """As a user names it."""
        return f"s3://{self.bucket}/{self.prefix}".rstrip("/")

    @cached_property
    def _client(self) -> Any:
        from boto3.session import Session
        from botocore.config import Config

        # The Prefect tasks try again by themselves.
        config = Config(retries={"mode": "standard", "max_attempts": 3}, connect_timeout=5, read_timeout=60)
        with storage_faults(self.place):
            try:
                return Session().client("s3", config=config)
            except ValueError as error:
                raise PipelineError(
                    "AWS_ENDPOINT_URL is no URL; expected one as https://host:port"
                ) from error

    def _name(self, key: str) -> dict[str, str]:
        return {"Bucket": self.bucket, "Key": self._below + checked(key)}

    @property
    def _below(self) -> str:
        return f"{self.prefix}/" if self.prefix else ""

    def objects(self, folder: str = "") -> list[Stored]:
        """Every object, but not the empty ones that stand for folders."""
        prefix = f"{self._below}{folder}/" if folder else self._below
        with storage_faults(self.place):
            pages = self._client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket, Prefix=prefix)
            found = [each for page in pages for each in page.get("Contents", ())]
        return [
            Stored(key, each["Size"], each["LastModified"], key_fault(key))
            for each in found
            if (key := each["Key"].removeprefix(self._below))
            and not (key.endswith("/") and each["Size"] == 0)
        ]

    def read(self, key: str) -> bytes:
        """Read a small object."""
        with self._object(key):
            response = self._client.get_object(**self._name(key))
            with response["Body"] as body:
                if response["ContentLength"] > SMALL:
                    raise DataError(f"{key}: larger than {SMALL} bytes")
                content: bytes = body.read()
        return content

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Bring an object to `target`."""
        name = self._name(key)
        with self._object(key), Incoming(key, target, size) as incoming:
            self._client.download_fileobj(**name, Fileobj=incoming, Config=self._alone)

    @contextmanager
    def _object(self, key: str) -> Iterator[None]:
        """Faults of an object are told from those of the place."""
        from botocore.exceptions import ClientError

        with storage_faults(self.place):
            try:
                yield
            except ClientError as error:
                code = error.response["Error"]["Code"]
                if code in _ABSENT:
                    raise DataError(f"{key}: is not there any more; upload it again") from error
                if code in _REFUSED:  # of this object only, or its place could not have been listed
                    raise DataError(f"{key}: may not be read ({_REFUSED[code]}); permit it") from error
                raise

    @property
    def _alone(self) -> Any:
        """Files are transferred `WORKERS` at once: one thread each."""
        from boto3.s3.transfer import TransferConfig

        return TransferConfig(use_threads=False)

    def holds(self, key: str, sha256: str) -> bool:
        """Compare with the hash that `send` stored with the object."""
        from botocore.exceptions import ClientError

        with storage_faults(self.place):
            try:
                found = self._client.head_object(**self._name(key))
            except ClientError as error:
                if error.response["Error"]["Code"] in _ABSENT:
                    return False
                raise
        return bool(found["Metadata"].get("sha256") == sha256)

    def send(self, source: Path, key: str, sha256: str) -> None:
        """Store a file with its hash."""
        name, told = self._name(key), {"Metadata": {"sha256": sha256}}
        with source.open("rb") as stream, storage_faults(self.place):
            self._client.upload_fileobj(stream, **name, ExtraArgs=told, Config=self._alone)

    def write(self, key: str, content: bytes) -> None:
        """Store a small object."""
        metadata = {"sha256": sha256_of(content).hexdigest()}
        with storage_faults(self.place):
            self._client.put_object(**self._name(key), Body=content, Metadata=metadata)

    def remove(self, key: str) -> None:
        """Remove an object."""
        with storage_faults(self.place):
            self._client.delete_object(**self._name(key))
