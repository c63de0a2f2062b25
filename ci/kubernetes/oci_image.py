#!/usr/bin/env python3
"""Make an OCI image archive of one layer: oci_image.py NAME:TAG OUT.tar LAYER.tar [CONFIG].

CONFIG is the image's configuration as JSON, such as ``{"Entrypoint": ["/pause"]}``. The archive is
what ``ctr images import``, ``kind load image-archive`` and ``k3s ctr images import`` read.
"""

import hashlib
import io
import json
import sys
import tarfile
from pathlib import Path

_OCI = "application/vnd.oci.image"


def main() -> None:
    """Write the archive that the command line asks for."""
    name, out, layer = sys.argv[1:4]
    configuration = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    with open(layer, "rb") as file:
        layer_digest = hashlib.file_digest(file, "sha256").hexdigest()
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": configuration,
            "rootfs": {"type": "layers", "diff_ids": [f"sha256:{layer_digest}"]},
        }
    )
    layer_descriptor = {
        "mediaType": f"{_OCI}.layer.v1.tar",
        "digest": f"sha256:{layer_digest}",
        "size": Path(layer).stat().st_size,
    }
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor("config", config),
            "layers": [layer_descriptor],
        }
    )
    names = {
        "io.containerd.image.name": name,
        "org.opencontainers.image.ref.name": name.rsplit(":", 1)[1],
    }
    index = {
        "schemaVersion": 2,
        "manifests": [{**_descriptor("manifest", manifest), "annotations": names}],
    }
    with tarfile.open(out, "w") as archive:
        _add(archive, "oci-layout", b'{"imageLayoutVersion": "1.0.0"}')
        _add(archive, "index.json", _json(index))
        for blob in (config, manifest):
            _add(archive, f"blobs/sha256/{hashlib.sha256(blob).hexdigest()}", blob)
        archive.add(layer, f"blobs/sha256/{layer_digest}")


def _json(value: object) -> bytes:
    return json.dumps(value).encode()


def _descriptor(kind: str, blob: bytes) -> dict[str, object]:
    return {
        "mediaType": f"{_OCI}.{kind}.v1+json",
        "digest": f"sha256:{hashlib.sha256(blob).hexdigest()}",
        "size": len(blob),
    }


def _add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    archive.addfile(member, io.BytesIO(content))


if __name__ == "__main__":
    main()
