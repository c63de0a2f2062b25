#!/usr/bin/env python3
"""Make an OCI image archive: oci_image.py NAME:TAG OUT.tar LAYER.tar [CONFIG [BASE.tar]].

CONFIG is the image's configuration as JSON, such as ``{"Entrypoint": ["/pause"]}``; BASE is an
archive made like this one, whose layers lie below. The archive is what ``ctr images import``,
``kind load image-archive`` and ``k3s ctr images import`` read.
"""

import hashlib
import io
import json
import sys
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO

_OCI = "application/vnd.oci.image"


def main() -> None:
    """Write the archive that the command line asks for."""
    name, out, layer = sys.argv[1:4]
    configuration = json.loads(sys.argv[4]) if len(sys.argv) > 4 else {}
    base = sys.argv[5] if len(sys.argv) > 5 else None
    layers = [*(_layers_of(base) if base else ()), _layer(layer)]
    config = _json(
        {
            "architecture": "amd64",
            "os": "linux",
            "config": configuration,
            "rootfs": {"type": "layers", "diff_ids": [each["digest"] for each in layers]},
        }
    )
    manifest = _json(
        {
            "schemaVersion": 2,
            "mediaType": f"{_OCI}.manifest.v1+json",
            "config": _descriptor("config", config),
            "layers": layers,
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
            _add(archive, _place(_descriptor("", blob)), blob)
        archive.add(layer, _place(layers[-1]))
        if base:
            with tarfile.open(base) as below:
                for each in layers[:-1]:
                    member = below.getmember(_place(each))
                    archive.addfile(member, below.extractfile(member))


def _layer(path: str) -> dict[str, object]:
    with open(path, "rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return {
        "mediaType": f"{_OCI}.layer.v1.tar",
        "digest": f"sha256:{digest}",
        "size": Path(path).stat().st_size,
    }


def _layers_of(archive: str) -> list[dict[str, object]]:
    """Return the descriptors of an image's layers, the lowest first."""
    with tarfile.open(archive) as image:
        index = json.load(_content(image, "index.json"))
        manifest = json.load(_content(image, _place(index["manifests"][0])))
    layers: list[dict[str, object]] = manifest["layers"]
    return layers


def _content(archive: tarfile.TarFile, name: str) -> IO[bytes]:
    file = archive.extractfile(name)
    assert file is not None, f"{name} is not a file"
    return file


def _place(descriptor: Mapping[str, object]) -> str:
    """Return where the archive has the blob of a descriptor."""
    return "blobs/" + str(descriptor["digest"]).replace(":", "/")


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
