"""A hub on the loopback address: as much of its protocol as pushing a dataset and loading it again needs."""

import base64
import hashlib
import json
import re
import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer


class Hub:
    """Repositories by name, files by content; `url` is where it listens. Without `token` nobody may write.

    `faults` says what a path (a pattern) gets instead of its answer, the next time and so on: a status, `drop` (no
    answer at all), `cut` (half of one), `html` (a page in place of JSON), `late` (the answer is lost, the work done).
    """

    def __init__(self, token="hf_test"):
        self.token, self.files, self.content, self.asked, self.sent = token, {}, {}, {}, 0
        self.faults, self.seen = {}, []
        hub = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def log_message(self, *words):
                pass

            def do_GET(self):
                hub.answer(self)

            do_POST = do_PUT = do_HEAD = do_GET

        self.server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.url = f"http://127.0.0.1:{self.server.server_port}"
        threading.Thread(target=self.server.serve_forever, daemon=True).start()

    def close(self):
        self.server.shutdown()
        self.server.server_close()

    def answer(self, request):
        body = self._body(request)
        path = request.path.partition("?")[0]
        status, headers, said = 404, {"X-Error-Code": "RepoNotFound"}, {"error": "not found"}
        self.seen.append(path)
        fault = next((rest.pop(0) for pattern, rest in self.faults.items() if rest and re.search(pattern, path)), None)
        if fault == "drop":
            request.close_connection = True
            return
        writes = request.command in ("POST", "PUT")
        if writes and request.headers.get("Authorization", f"Bearer {self.token}") != f"Bearer {self.token}":
            status, headers, said = 403, {}, {"error": "no"}
        elif not isinstance(fault, int):
            for pattern, method in self.ROUTES:
                found = re.fullmatch(pattern, path)
                if found:
                    status, headers, said = getattr(self, method)(found, body, request)
                    break
        data = said if isinstance(said, bytes) else json.dumps(said).encode()
        if fault == "late":
            request.close_connection = True
            return
        if isinstance(fault, int):
            status, headers, data = fault, {"Retry-After": "1"} if fault == 429 else {}, b'{"error": "not now"}'
        elif fault == "html":
            data = b"<!doctype html><p>Wartungsarbeiten"
        request.send_response(status)
        for name, value in {"Content-Type": "application/json", "Content-Length": str(len(data)), **headers}.items():
            request.send_header(name, value)
        request.end_headers()
        if fault == "cut":
            request.wfile.write(data[: len(data) // 2])
            request.close_connection = True
            return
        if request.command != "HEAD":
            request.wfile.write(data)

    @staticmethod
    def _body(request):
        if request.headers.get("Transfer-Encoding") == "chunked":
            found = b""
            while size := int(request.rfile.readline(), 16):
                found += request.rfile.read(size)
                request.rfile.readline()
            request.rfile.readline()
            return found
        return request.rfile.read(int(request.headers.get("Content-Length") or 0))

    REPO = r"([^/]+/[^/]+)"
    ROUTES = (
        (r"/api/repos/create", "_create"),
        (r"/api/validate-yaml", "_fine"),
        (rf"/api/datasets/{REPO}/preupload/.+", "_before"),
        (rf"/datasets/{REPO}\.git/info/lfs/objects/batch", "_large"),
        (r"/blob/(\w+)", "_blob"),
        (rf"/api/datasets/{REPO}/commit/.+", "_commit"),
        (rf"/api/datasets/{REPO}/tree/[^/]+(?:/(.+))?", "_tree"),
        (rf"/api/datasets/{REPO}(?:/revision/.+)?", "_facts"),
        (rf"/datasets/{REPO}/resolve/[^/]+/(.+)", "_file"),
    )

    def _create(self, found, body, request):
        asked = json.loads(body)
        name = f"{asked.get('organization') or 'me'}/{asked['name']}"
        if name in self.files:
            return 409, {}, {"error": "You already created this dataset repo", "url": f"{self.url}/datasets/{name}"}
        self.files[name], self.asked[name] = {}, asked
        return 200, {}, {"url": f"{self.url}/datasets/{name}", "name": name, "id": name}

    def _fine(self, found, body, request):
        return 200, {}, {"errors": [], "warnings": []}

    def _before(self, found, body, request):
        rows = [
            {"path": one["path"], "uploadMode": "lfs" if one["size"] > 2000 else "regular", "shouldIgnore": False}
            for one in json.loads(body)["files"]
        ]
        return 200, {}, {"files": [{**row, "oid": None} for row in rows]}

    def _large(self, found, body, request):
        rows = []
        for one in json.loads(body)["objects"]:
            upload = {"actions": {"upload": {"href": f"{self.url}/blob/{one['oid']}"}}}
            rows.append({**one, **({} if one["oid"] in self.content else upload)})
        return 200, {"Content-Type": "application/vnd.git-lfs+json"}, {"transfer": "basic", "objects": rows}

    def _blob(self, found, body, request):
        assert hashlib.sha256(body).hexdigest() == found[1]
        self.content[found[1]] = body
        self.sent += 1
        return 200, {}, {}

    def _commit(self, found, body, request):
        files = dict(self.files[found[1]])
        for line in body.splitlines()[1:]:
            step = json.loads(line)
            value = step["value"]
            if step["key"] == "file":
                data = base64.b64decode(value["content"])
                files[value["path"]] = hashlib.sha256(data).hexdigest()
                self.content[files[value["path"]]] = data
            elif step["key"] == "lfsFile":
                files[value["path"]] = value["oid"]
            elif step["key"] == "deletedFile":
                files.pop(value["path"])
        self.files[found[1]] = files
        commit = self._head(found[1])
        return (
            200,
            {},
            {
                "commitOid": commit,
                "commitUrl": f"{self.url}/datasets/{found[1]}/commit/{commit}",
                "success": True,
                "hookOutput": "",
            },
        )

    def _head(self, name):
        return hashlib.sha1(json.dumps(sorted(self.files[name].items())).encode()).hexdigest()

    def _facts(self, found, body, request):
        if found[1] not in self.files:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        names = [{"rfilename": name} for name in self.files[found[1]]]
        facts = {"id": found[1], "sha": self._head(found[1]), "siblings": names, "private": False}
        return 200, {}, {**facts, "tags": [], "downloads": 0, "likes": 0}

    def _tree(self, found, body, request):
        if found[1] not in self.files:
            return 404, {"X-Error-Code": "RepoNotFound"}, {"error": "Repository not found"}
        under = f"{found[2].rstrip('/')}/" if found[2] else ""
        rows, folders = [], set()
        for name, key in self.files[found[1]].items():
            rest = name.removeprefix(under)
            if not name.startswith(under):
                continue
            if "/" in rest and "recursive=true" not in request.path.lower():
                folders.add(under + rest.partition("/")[0])
            else:
                rows.append({"type": "file", "path": name, "size": len(self.content[key]), "oid": key[:40]})
        rows += [{"type": "directory", "path": name, "oid": "0" * 40, "size": 0} for name in sorted(folders)]
        return 200, {}, rows

    def _file(self, found, body, request):
        key = self.files.get(found[1], {}).get(found[2])
        if key is None:
            return 404, {"X-Error-Code": "EntryNotFound"}, {"error": "Entry not found"}
        headers = {
            "ETag": f'"{key}"',
            "X-Repo-Commit": self._head(found[1]),
            "Content-Type": "application/octet-stream",
        }
        return 200, headers, self.content[key]
