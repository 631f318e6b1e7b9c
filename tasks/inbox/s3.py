"""An S3 prefix as a place that holds files. Endpoint, region and credentials are boto3's usual AWS_* variables."""

import base64
import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from itertools import count
from pathlib import Path
from typing import Any, Final

from evernorm.errors import DataError, PipelineError
from tasks.faults import storage_faults
from tasks.inbox.storage import BLOCK, SMALL, Stored, checked, key_fault, receive

PART_SIZE: Final = 8 * 2**20
"""Files of more bytes are sent in parts of as many."""

_ABSENT = {"404", "NoSuchKey"}
_REFUSED = {"AccessDenied", "InvalidObjectState"}
_CHANGED = {"412", "416", "PreconditionFailed", "InvalidRange"}


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

        config = Config(
            # The Prefect tasks try again by themselves.
            retries={"mode": "standard", "max_attempts": 3},
            connect_timeout=5,
            read_timeout=60,
            # Content-MD5 is sent instead: an upload whose parts carry checksums of two kinds is refused.
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
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
        with storage_faults(self.place):
            response = self._get(key)
            with response["Body"] as body:
                if response["ContentLength"] > SMALL:
                    raise DataError(f"{key}: larger than {SMALL} bytes")
                content: bytes = body.read()
        return content

    def fetch(self, key: str, target: Path, size: int) -> None:
        """Bring an object to `target`; the ETag tells whether it is still the one begun."""

        def read(start: int, seen: str) -> tuple[str, Iterator[bytes]]:
            with storage_faults(self.place):
                response = self._get(key, start, seen)
            return response["ETag"], blocks(response["Body"])

        def blocks(body: Any) -> Iterator[bytes]:
            with storage_faults(self.place), body:
                yield from body.iter_chunks(BLOCK)

        receive(key, target, size, read)

    def _get(self, key: str, start: int = 0, etag: str = "") -> Any:
        """Ask for an object: from a byte on, if it still has that ETag."""
        from botocore.exceptions import ClientError

        since = {"Range": f"bytes={start}-", "IfMatch": etag} if start else {}
        try:
            return self._client.get_object(**self._name(key), **since)
        except ClientError as error:
            code = error.response["Error"]["Code"]
            if since and code in _CHANGED:
                return self._get(key)
            if code in _ABSENT:
                raise DataError(f"{key}: is not there any more; upload it again") from error
            if code in _REFUSED:  # of this object only, or its place could not have been listed
                raise DataError(f"{key}: may not be read ({code}); permit it") from error
            raise

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
        """Store a file; of a large one, an interrupted call's parts are not sent again."""
        if source.stat().st_size <= PART_SIZE:
            self.write(key, source.read_bytes())
            return
        with storage_faults(self.place):
            upload = self._unfinished(key)
            if upload is None:
                response = self._client.create_multipart_upload(
                    **self._name(key), Metadata={"sha256": sha256}
                )
                self._send_parts(source, key, response["UploadId"], {})
                return
            self._send_parts(source, key, upload, self._parts(key, upload))
        # The upload may have been begun for other content: its metadata are from then.
        if not self.holds(key, sha256):
            self._label(key, sha256)

    def _unfinished(self, key: str) -> str | None:
        """The latest unfinished upload of an object."""
        pages = self._client.get_paginator("list_multipart_uploads").paginate(
            Bucket=self.bucket, Prefix=self._name(key)["Key"]
        )
        found = [each for page in pages for each in page.get("Uploads", ())]
        uploads = [each for each in found if each["Key"] == self._name(key)["Key"]]
        latest = max(uploads, key=lambda upload: upload["Initiated"], default=None)
        return latest and latest["UploadId"]

    def _parts(self, key: str, upload: str) -> dict[int, str]:
        """ETags of the parts that are there, by number."""
        pages = self._client.get_paginator("list_parts").paginate(**self._name(key), UploadId=upload)
        return {each["PartNumber"]: each["ETag"] for page in pages for each in page.get("Parts", ())}

    def _send_parts(self, source: Path, key: str, upload: str, there: dict[int, str]) -> None:
        """Send the parts that are missing or different, then complete the upload."""
        parts = []
        with source.open("rb") as stream:
            for number in count(1):
                if not (block := stream.read(PART_SIZE)):
                    break
                md5 = hashlib.md5(block, usedforsecurity=False)
                etag = there.get(number)
                if etag != f'"{md5.hexdigest()}"':
                    response = self._client.upload_part(
                        **self._name(key),
                        UploadId=upload,
                        PartNumber=number,
                        Body=block,
                        ContentMD5=base64.b64encode(md5.digest()).decode(),
                    )
                    etag = response["ETag"]
                parts.append({"PartNumber": number, "ETag": etag})
        self._client.complete_multipart_upload(
            **self._name(key), UploadId=upload, MultipartUpload={"Parts": parts}
        )

    def _label(self, key: str, sha256: str) -> None:
        name = self._name(key)
        with storage_faults(self.place):
            self._client.copy_object(
                **name, CopySource=name, Metadata={"sha256": sha256}, MetadataDirective="REPLACE"
            )

    def write(self, key: str, content: bytes) -> None:
        """Store a small object."""
        md5 = hashlib.md5(content, usedforsecurity=False).digest()
        with storage_faults(self.place):
            self._client.put_object(
                **self._name(key),
                Body=content,
                ContentMD5=base64.b64encode(md5).decode(),
                Metadata={"sha256": hashlib.sha256(content).hexdigest()},
            )

    def remove(self, key: str) -> None:
        """Remove an object."""
        with storage_faults(self.place):
            self._client.delete_object(**self._name(key))
