"""A small API server, over real HTTP: lists, watches that replay, and what goes wrong with them."""

import asyncio
import copy
import json
import uuid

from aiohttp import web

NAMESPACE = "hub"


def pod(name, *, session=None, labels=(), annotations=(), namespace=NAMESPACE, **parts):
    """A running server's pod; `parts` replace what it has."""
    marks = {"component": "singleuser-server", **dict(labels)}
    if session:
        marks["jhub-tokens/session"] = session
    meta = {
        "name": name,
        "namespace": namespace,
        "uid": f"uid-{name}-{uuid.uuid4().hex[:6]}",
        "labels": marks,
        "annotations": dict(annotations),
        "creationTimestamp": "2026-11-01T09:00:00Z",
        **parts.pop("metadata", {}),
    }
    spec = {
        "nodeName": "node-1",
        "restartPolicy": "OnFailure",
        "containers": [{"name": "notebook", "resources": {"requests": {"cpu": "1"}}}],
        **parts.pop("spec", {}),
    }
    status = {
        "phase": "Running",
        "containerStatuses": [running()],
        **parts.pop("status", {}),
    }
    assert not parts, parts
    return {"metadata": meta, "spec": spec, "status": status}


def running(since="2026-11-01T09:00:10Z"):
    return {"name": "notebook", "state": {"running": {"startedAt": since}}}


def terminated(at, reason="Completed", exit_code=0):
    ended = {"finishedAt": at, "reason": reason, "exitCode": exit_code}
    return {"name": "notebook", "state": {"terminated": ended}}


def node(name="node-1", *, ready="True", since="2026-11-01T00:00:00Z", labels=(), **parts):
    status = {
        "conditions": [{"type": "Ready", "status": ready, "lastTransitionTime": since}],
        "allocatable": {"cpu": "8", "memory": "32Gi", "pods": "110"},
        **parts.pop("status", {}),
    }
    meta = {"name": name, "uid": f"uid-{name}", "labels": dict(labels)}
    return {"metadata": meta, "spec": parts.pop("spec", {}), "status": status}


class FakeApi:
    """Objects of three kinds; everything that is asked of it is written down."""

    def __init__(self):
        self.version = 100
        self.kinds = {
            "pods": {}, "nodes": {}, "persistentvolumeclaims": {}, "volumesnapshots": {}
        }  # fmt: skip
        self.history = []  # (version, kind, type, object)
        self.forgotten = 0  # versions up to here are too old to watch from
        self.refusals = {}  # path → status
        self.asked = []  # (method, path, query)
        self.page_size = None
        self.now = "2026-11-01T09:00:00Z"  # its clock, for what is made there
        self.torn = 0  # watches that are to break in the middle of a line
        self._turn = asyncio.Condition()
        self._endings = {}  # watches under way → how they are to end

    # --- the cluster ----------------------------------------------------------------------

    async def put(self, kind, raw):
        raw = copy.deepcopy(raw)
        key = raw["metadata"]["uid"]
        known = key in self.kinds[kind]
        await self._happens(kind, "MODIFIED" if known else "ADDED", raw)
        self.kinds[kind][key] = raw
        return raw

    async def remove(self, kind, raw):
        self.kinds[kind].pop(raw["metadata"]["uid"])
        await self._happens(kind, "DELETED", copy.deepcopy(raw))

    def vanish(self, kind, raw):
        """It goes while nobody can be told."""
        self.kinds[kind].pop(raw["metadata"]["uid"])
        self.version += 1

    async def bookmark(self, kind):
        self.version += 1
        mark = {"metadata": {"resourceVersion": str(self.version)}}
        self.history.append((self.version, kind, "BOOKMARK", mark))
        await self._notify()

    async def _happens(self, kind, type_, raw):
        self.version += 1
        raw["metadata"]["resourceVersion"] = str(self.version)
        self.history.append((self.version, kind, type_, copy.deepcopy(raw)))
        await self._notify()

    async def _notify(self):
        async with self._turn:
            self._turn.notify_all()

    # --- what goes wrong ------------------------------------------------------------------

    def forget(self):
        """Compact: what was before can be watched no more."""
        self.forgotten = self.version
        self.history.clear()

    async def end_watches(self, how="end"):
        """End those under way: in good order (``end``), by a ``drop``, or with an ``error``."""
        for watch in self._endings:
            self._endings[watch] = how
        await self._notify()

    @property
    def watching(self):
        return len(self._endings)

    # --- HTTP -----------------------------------------------------------------------------

    async def start(self):
        app = web.Application()
        app.router.add_route("*", "/{path:.*}", self._answer)
        self._runner = web.AppRunner(app, shutdown_timeout=0.1)
        await self._runner.setup()
        self._site = web.TCPSite(self._runner, "127.0.0.1", 0)
        await self._site.start()
        self.port = self._site._server.sockets[0].getsockname()[1]

    async def stop(self):
        await self.end_watches("drop")
        await self._runner.cleanup()

    def kubeconfig(self, path):
        path.write_text(
            json.dumps(
                {
                    "apiVersion": "v1",
                    "kind": "Config",
                    "current-context": "fake",
                    "clusters": [
                        {"name": "c", "cluster": {"server": f"http://127.0.0.1:{self.port}"}}
                    ],
                    "users": [{"name": "u", "user": {"token": "secret-token"}}],
                    "contexts": [
                        {
                            "name": "fake",
                            "context": {"cluster": "c", "user": "u", "namespace": NAMESPACE},
                        }
                    ],
                }
            )
        )
        return str(path)

    async def _answer(self, request):
        path, query = request.path, dict(request.query)
        self.asked.append((request.method, path, query))
        assert request.headers["Authorization"] == "Bearer secret-token"
        if path in self.refusals:
            return self._status(self.refusals[path], "not now")
        parts = path.strip("/").split("/")
        at = parts.index("namespaces") + 2 if "namespaces" in parts else 2
        namespace = parts[at - 1] if "namespaces" in parts else None
        rest = parts[at:]
        if rest[0] not in self.kinds:
            return self._status(404, "no such kind")
        if request.method == "DELETE":
            return await self._delete(rest, namespace, await request.json())
        if request.method == "POST":
            return await self._create(rest[0], namespace, await request.json())
        if len(rest) == 2:
            found = self.named(rest[0], rest[1])
            return web.json_response(found) if found else self._status(404, "no such object")
        choose = self._chooser(namespace, query.get("labelSelector"))
        if query.get("watch") == "true":
            return await self._watch(request, rest[0], int(query["resourceVersion"]), choose)
        return self._list(rest[0], query, choose)

    @staticmethod
    def _status(code, message):
        body = {"kind": "Status", "code": code, "message": message}
        return web.json_response(body, status=code)

    @staticmethod
    def _chooser(namespace, selector):
        wanted = dict(part.split("=", 1) for part in selector.split(",")) if selector else {}

        def choose(raw):
            meta = raw["metadata"]
            here = namespace is None or meta.get("namespace") == namespace
            marks = meta.get("labels") or {}
            return here and all(marks.get(name) == value for name, value in wanted.items())

        return choose

    def _list(self, kind, query, choose):
        items = [raw for raw in self.kinds[kind].values() if choose(raw)]
        first = int(query.get("continue", 0))
        size = self.page_size or len(items) or 1
        page, more = items[first : first + size], first + size < len(items)
        meta = {"resourceVersion": str(self.version)}
        if more:
            meta["continue"] = str(first + size)
        return web.json_response({"metadata": meta, "items": page})

    def named(self, kind, name):
        found = [raw for raw in self.kinds[kind].values() if raw["metadata"]["name"] == name]
        return found[0] if found else None

    async def _create(self, kind, namespace, raw):
        if self.named(kind, raw["metadata"]["name"]):
            return self._status(409, "it is there")
        made = {"namespace": namespace, "uid": uuid.uuid4().hex, "creationTimestamp": self.now}
        raw["metadata"] |= made
        return web.json_response(await self.put(kind, raw), status=201)

    async def _delete(self, rest, namespace, body):
        for raw in list(self.kinds[rest[0]].values()):
            if (raw["metadata"]["name"], raw["metadata"].get("namespace")) == (rest[1], namespace):
                if body.get("preconditions", {}).get("uid") != raw["metadata"]["uid"]:
                    return self._status(409, "another uid")
                await self.remove(rest[0], raw)
                return web.json_response(raw)
        return self._status(404, "no such pod")

    async def _watch(self, request, kind, version, choose):
        answer = web.StreamResponse(headers={"Content-Type": "application/json"})
        await answer.prepare(request)
        if version < self.forgotten:
            gone = {"type": "ERROR", "object": {"code": 410, "message": "too old"}}
            await answer.write(json.dumps(gone).encode() + b"\n")
            return answer
        watch = object()
        self._endings[watch] = None
        try:
            while True:
                for at, of, type_, raw in list(self.history):
                    is_chosen = of == kind and (type_ == "BOOKMARK" or choose(raw))
                    if at > version and is_chosen:
                        line = json.dumps({"type": type_, "object": raw}).encode() + b"\n"
                        # In two pieces: a line need not come in one.
                        await answer.write(line[:20])
                        if self.torn:
                            self.torn -= 1
                            request.transport.abort()
                            return answer
                        await answer.write(line[20:])
                    version = max(version, at)
                match self._endings[watch]:
                    case "end":
                        return answer
                    case "drop":
                        if request.transport is not None:  # else the client has gone by itself
                            request.transport.abort()
                        return answer
                    case "error":
                        said = {"type": "ERROR", "object": {"code": 500, "message": "etcd"}}
                        await answer.write(json.dumps(said).encode() + b"\n")
                        return answer
                async with self._turn:
                    has_more = any(at > version for at, *_ in self.history)
                    if not has_more and self._endings[watch] is None:
                        await self._turn.wait()
        finally:
            del self._endings[watch]
