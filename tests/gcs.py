"""Google's Cloud Storage in memory, small enough to read: the XML API that `obstore` and Lance speak to it.

It is the server of `tests/s3.py` but for what differs there: a bearer's token, and conditions on the generation of an
object (`x-goog-if-generation-match`), where S3 compares tags.
"""

from __future__ import annotations

import json
import time
from urllib.parse import unquote, urlsplit

from tests.s3 import Handler, S3Server, tag_of

TOKEN = "test-token-never-shown"


class GoogleHandler(Handler):
    """Answers one request."""

    def _refused(self):
        said = self.headers.get("Authorization")
        return None if said in (None, "", "Bearer", "Bearer ") or said.endswith(TOKEN) else "AccessDenied"

    def _send(self, status, body=b"", **headers):
        name, _, key = unquote(urlsplit(self.path).path).lstrip("/").partition("/")
        generation = self.s3.generations.get((name, key))
        if generation is not None and status < 300:
            headers["x_goog_generation"] = str(generation)
        super()._send(status, body, **headers)

    def _store(self, objects, key, body):
        name = next(name for name, some in self.s3.buckets.items() if some is objects)
        wanted = self.headers.get("x-goog-if-generation-match")
        have = self.s3.generations.get((name, key), 0) if key in objects else 0
        if wanted is not None and int(wanted) != have:
            return self._fail(412, "PreconditionFailed") or True
        self.s3.count += 1
        objects[key] = (body, time.time())
        self.s3.generations[name, key] = self.s3.count
        return False

    def _put(self, objects, key, query, body):
        source = self.headers.get("x-goog-copy-source")
        if source is None:
            return super()._put(objects, key, query, body)
        _, _, other = unquote(source).lstrip("/").partition("/")
        if other not in objects:
            return self._fail(404, "NoSuchKey")
        done = f"<CopyObjectResult><ETag>{tag_of(objects[other][0])}</ETag></CopyObjectResult>".encode()
        return self._store(objects, key, objects[other][0]) or self._send(200, done)

    def _delete(self, objects, key, query, body):
        if key not in objects:
            return self._fail(404, "NoSuchKey")
        return super()._delete(objects, key, query, body)


class GoogleServer(S3Server):
    """`with GoogleServer() as server`: as `S3Server`.

    Attributes:
        generations: of (bucket, key).
        count: of objects that were written.
    """

    handler = GoogleHandler

    def __init__(self, *buckets, page=1000):
        super().__init__(*buckets, page=page)
        self.generations, self.count = {}, 1000

    def environment(self):
        """What a process needs to reach it: an account that asks for no token."""
        account = {"gcs_base_url": self.url, "disable_oauth": True}
        account |= dict.fromkeys(("client_email", "private_key", "private_key_id"), "")
        return {"GOOGLE_SERVICE_ACCOUNT_KEY": json.dumps(account)}
