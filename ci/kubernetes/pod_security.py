#!/usr/bin/env python3
"""The Pod Security Standards as a webhook, for API servers that lack the admission plugin (< 1.23).

``pod_security.py PORT CERTIFICATE KEY`` answers on 127.0.0.1; a path names the level,
``/baseline`` or ``/restricted``. It follows the rules of
https://kubernetes.io/docs/concepts/security/pod-security-standards/ that a pod of Linux can break
by the fields that Kubernetes 1.20 knows.
"""

import json
import ssl
import sys
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

_BASELINE_CAPABILITIES = {
    "AUDIT_WRITE", "CHOWN", "DAC_OVERRIDE", "FOWNER", "FSETID", "KILL", "MKNOD",
    "NET_BIND_SERVICE", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYS_CHROOT",
}  # fmt: skip
_RESTRICTED_CAPABILITIES = {"NET_BIND_SERVICE"}
_RESTRICTED_VOLUMES = {
    "configMap", "csi", "downwardAPI", "emptyDir", "ephemeral", "persistentVolumeClaim",
    "projected", "secret",
}  # fmt: skip
_SAFE_SYSCTLS = {
    "kernel.shm_rmid_forced", "net.ipv4.ip_local_port_range", "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.tcp_syncookies", "net.ipv4.ping_group_range",
}  # fmt: skip


def violations(pod: dict, level: str) -> list[str]:
    """Return in what a pod breaks a level's rules; nothing if it keeps to them."""
    spec = pod.get("spec") or {}
    of_pod = spec.get("securityContext") or {}
    found = [f"{name}=true" for name in ("hostNetwork", "hostPID", "hostIPC") if spec.get(name)]
    found += [
        f"sysctl {each['name']}"
        for each in of_pod.get("sysctls") or []
        if each["name"] not in _SAFE_SYSCTLS
    ]
    for volume in spec.get("volumes") or []:
        kind = next((key for key in volume if key != "name"), "emptyDir")
        if kind == "hostPath" or (level == "restricted" and kind not in _RESTRICTED_VOLUMES):
            found.append(f"volume {volume['name']!r} is of type {kind}")
    for group in ("initContainers", "containers", "ephemeralContainers"):
        for container in spec.get(group) or []:
            broken = _baseline(container, of_pod)
            if level == "restricted":
                broken += _restricted(container, of_pod)
            found += [f"container {container['name']!r}: {each}" for each in broken]
    return found


def _baseline(container: dict, of_pod: dict) -> list[str]:
    own = container.get("securityContext") or {}
    found = []
    if own.get("privileged"):
        found.append("privileged=true")
    if any(port.get("hostPort") for port in container.get("ports") or []):
        found.append("hostPort")
    added = set((own.get("capabilities") or {}).get("add") or [])
    if added - _BASELINE_CAPABILITIES:
        found.append(f"capabilities.add {sorted(added - _BASELINE_CAPABILITIES)}")
    if own.get("procMount", "Default") != "Default":
        found.append("procMount")
    if _seccomp(own, of_pod) == "Unconfined":
        found.append("seccompProfile.type=Unconfined")
    return found


def _restricted(container: dict, of_pod: dict) -> list[str]:
    own = container.get("securityContext") or {}
    capabilities = own.get("capabilities") or {}
    found = []
    if own.get("allowPrivilegeEscalation") is not False:
        found.append("allowPrivilegeEscalation must be false")
    if "ALL" not in (capabilities.get("drop") or []):
        found.append("capabilities.drop must hold ALL")
    added = set(capabilities.get("add") or []) & _BASELINE_CAPABILITIES
    if added - _RESTRICTED_CAPABILITIES:
        found.append(f"capabilities.add {sorted(added - _RESTRICTED_CAPABILITIES)}")
    if own.get("runAsNonRoot", of_pod.get("runAsNonRoot")) is not True:
        found.append("runAsNonRoot must be true")
    if own.get("runAsUser", of_pod.get("runAsUser")) == 0:
        found.append("runAsUser must not be 0")
    if _seccomp(own, of_pod) not in ("RuntimeDefault", "Localhost"):
        found.append("seccompProfile.type must be RuntimeDefault or Localhost")
    return found


def _seccomp(own: dict, of_pod: dict) -> str | None:
    profile = own.get("seccompProfile") or of_pod.get("seccompProfile") or {}
    return profile.get("type")


class Handler(BaseHTTPRequestHandler):
    """Answers one admission review."""

    protocol_version = "HTTP/1.1"

    def do_POST(self) -> None:
        """Allow or deny the pod of a review."""
        review = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        request = review["request"]
        level = self.path.partition("?")[0].strip("/")
        found = violations(request["object"], level)
        response = {"uid": request["uid"], "allowed": not found}
        if found:
            message = f'violates PodSecurity "{level}:latest": ' + "; ".join(found)
            response["status"] = {"code": 403, "reason": "Forbidden", "message": message}
        review = {
            "apiVersion": "admission.k8s.io/v1",
            "kind": "AdmissionReview",
            "response": response,
        }
        body = json.dumps(review).encode()
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_args: object) -> None:
        """Say nothing of each review."""


def main() -> None:
    """Listen until ended."""
    port, certificate, key = sys.argv[1:]
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), Handler)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
