"""An S3 server in memory, small enough to read: what `obstore` and Lance ask of one, conditional writes included.

It checks which key signed a request, not the signature; `scripts/check_s3.py` runs against a real server.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from email.utils import formatdate
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import parse_qs, unquote, urlsplit
from xml.sax.saxutils import escape, unescape

KEY, SECRET = "test-key", "test-secret-never-shown"


def tag_of(data):
    return f'"{hashlib.md5(data).hexdigest()}"'


class Handler(BaseHTTPRequestHandler):
    protocol_version, wbufsize, disable_nagle_algorithm = "HTTP/1.1", -1, True
    s3 = None  # the server

    def log_message(self, *_):
        pass

    def _send(self, status, body=b"", **headers):
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name.replace("_", "-"), value)
        self.send_header("Content-Length", str(headers.get("length", len(body))))
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def _fail(self, status, code):
        self._send(status, f"<Error><Code>{code}</Code><Message>{code}</Message></Error>".encode())

    def _serve(self):
        parts = urlsplit(self.path)
        body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
        self.s3.asked.append(f"{self.command} {self.path}")
        if refused := self._refused():
            return self._fail(403, refused)
        name, _, key = unquote(parts.path).lstrip("/").partition("/")
        query = parse_qs(parts.query, keep_blank_values=True)
        with self.s3.lock:
            objects = self.s3.buckets.get(name)
            if objects is None:
                return self._fail(404, "NoSuchBucket")
            if self.command in ("PUT", "POST", "DELETE") and key.startswith(self.s3.refused) and self.s3.refused:
                return self._fail(403, "AccessDenied")
            return getattr(self, f"_{self.command.lower()}")(objects, key, query, body)

    def _refused(self):
        signed = re.search(r"Credential=([^/]+)/", self.headers.get("Authorization") or "")
        if signed is None or signed[1] != KEY:
            return "InvalidAccessKeyId" if signed else "AccessDenied"
        return None

    do_GET = do_HEAD = do_PUT = do_POST = do_DELETE = _serve

    def _get(self, objects, key, query, body):
        if not key:
            return self._list(objects, query)
        if key not in objects:
            return self._fail(404, "NoSuchKey")
        data, changed = objects[key]
        headers = {"ETag": tag_of(data), "Last_Modified": formatdate(changed, usegmt=True)}
        asked = re.fullmatch(r"bytes=(\d*)-(\d*)", self.headers.get("Range") or "")
        if asked is None:
            return self._send(200, data, **headers)
        start = int(asked[1]) if asked[1] else max(0, len(data) - int(asked[2]))
        end = min(int(asked[2]) + 1 if asked[1] and asked[2] else len(data), len(data))
        if start >= len(data):
            return self._fail(416, "InvalidRange")
        return self._send(206, data[start:end], Content_Range=f"bytes {start}-{end - 1}/{len(data)}", **headers)

    def _head(self, objects, key, query, body):
        if key not in objects:
            return self._send(404)
        data, changed = objects[key]
        return self._send(200, length=len(data), ETag=tag_of(data), Last_Modified=formatdate(changed, usegmt=True))

    def _put(self, objects, key, query, body):
        if "partNumber" in query:
            self.s3.uploads[query["uploadId"][0]][int(query["partNumber"][0])] = body
            return self._send(200, ETag=tag_of(body))
        return self._store(objects, key, body) or self._send(200, ETag=tag_of(body))

    def _store(self, objects, key, body):
        wanted = self.headers.get("If-Match")
        if self.headers.get("If-None-Match") == "*" and key in objects:
            return self._fail(412, "PreconditionFailed") or True
        if wanted and (key not in objects or tag_of(objects[key][0]) != wanted):
            return self._fail(412 if key in objects else 404, "PreconditionFailed") or True
        objects[key] = (body, time.time())
        return False

    def _post(self, objects, key, query, body):
        if "delete" in query:
            keys = re.findall(r"<Key>(.*?)</Key>", body.decode())
            for found in keys:
                objects.pop(unescape(found, {"&quot;": '"', "&apos;": "'"}), None)
            said = "".join(f"<Deleted><Key>{key}</Key></Deleted>" for key in keys)
            return self._send(200, f"<DeleteResult>{said}</DeleteResult>".encode())
        if "uploads" in query:
            name = f"upload-{len(self.s3.uploads)}"
            self.s3.uploads[name] = {}
            return self._send(
                200,
                f"<InitiateMultipartUploadResult><UploadId>{name}</UploadId></InitiateMultipartUploadResult>".encode(),
            )
        parts = self.s3.uploads.pop(query["uploadId"][0])
        whole = b"".join(parts[number] for number in sorted(parts))
        done = f"<CompleteMultipartUploadResult><ETag>{tag_of(whole)}</ETag></CompleteMultipartUploadResult>"
        return self._store(objects, key, whole) or self._send(200, done.encode(), ETag=tag_of(whole))

    def _delete(self, objects, key, query, body):
        objects.pop(key, None)
        return self._send(204)

    def _list(self, objects, query):
        prefix, delimiter = (query.get(name, [""])[0] for name in ("prefix", "delimiter"))
        after = query.get("continuation-token", query.get("start-after", [""]))[0]
        rows, folders, last, more = [], [], "", False
        for key in sorted(objects):
            if not key.startswith(prefix) or key <= after or (last and key.startswith(last)):
                continue
            if len(rows) + len(folders) >= min(self.s3.page, int(query.get("max-keys", ["1000"])[0])):
                more = True
                break
            rest = key[len(prefix) :]
            if delimiter and delimiter in rest:
                last = prefix + rest.partition(delimiter)[0] + delimiter
                if not after.startswith(last):
                    folders.append(last)
                continue
            data, changed = objects[key]
            at = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(changed)) + f".{int(changed % 1 * 1000):03}Z"
            rows.append((key, len(data), at, tag_of(data)))
        token = max([*(row[0] for row in rows), *(one + "\U0010ffff" for one in folders)], default="")
        contents = "".join(
            f"<Contents><Key>{escape(key)}</Key><LastModified>{at}</LastModified><ETag>{escape(tag)}</ETag>"
            f"<Size>{size}</Size></Contents>"
            for key, size, at, tag in rows
        )
        below = "".join(f"<CommonPrefixes><Prefix>{escape(one)}</Prefix></CommonPrefixes>" for one in folders)
        goes_on = f"<NextContinuationToken>{escape(token)}</NextContinuationToken>" if more else ""
        body = f"<ListBucketResult><IsTruncated>{str(more).lower()}</IsTruncated>{goes_on}{contents}{below}"
        return self._send(200, f"{body}</ListBucketResult>".encode(), Content_Type="application/xml")


class S3Server:
    """`with S3Server() as server`: listens on a free port of this machine.

    Attributes:
        buckets: name to key to (content, when it was written).
        asked: method and path of every request.
        refused: keys with such a beginning may not be written (403).
        page: most keys of a listing.
    """

    handler = Handler

    def __init__(self, *buckets, page=1000):
        self.buckets = {name: {} for name in buckets or ("bucket",)}
        self.uploads, self.asked, self.refused, self.page = {}, [], (), page
        self.lock = threading.RLock()
        self._http = ThreadingHTTPServer(("127.0.0.1", 0), type("Asked", (self.handler,), {"s3": self}))
        self._http.daemon_threads = True
        self.url = f"http://127.0.0.1:{self._http.server_port}"

    def __enter__(self):
        threading.Thread(target=self._http.serve_forever, args=(0.05,), daemon=True).start()
        return self

    def __exit__(self, *_):
        self._http.shutdown()
        self._http.server_close()

    def environment(self):
        """What a process needs to reach it."""
        return {"AWS_ENDPOINT_URL": self.url, "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET}
