"""Bills of materials (CycloneDX): what the locks say, and what is in an image that was built."""

from __future__ import annotations

import tomllib
import uuid
from collections.abc import Iterable
from datetime import UTC, datetime

from cyclonedx.model import HashAlgorithm, HashType, Property
from cyclonedx.model.bom import Bom, BomMetaData
from cyclonedx.model.component import Component, ComponentType
from cyclonedx.output.json import JsonV1Dot6
from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator
from packageurl import PackageURL

from images.tooling.building import BuildError
from images.tooling.contents import Contents
from images.tooling.families import IMAGES, Families
from images.tooling.locks import image_pins

__all__ = ["bill", "invalid"]


def bill(tag: str, image: str, families: Families, built: Contents | None = None) -> str:
    """Return the bill of materials of an image's version as CycloneDX 1.6.

    From the locks alone it has the wheels, the interpreters and the base. With the contents of a
    built image it also has the Debian packages, and the interpreters are those of the image. The
    same input gives the same bill.
    """
    environment = families.images[image].environment
    framework, server = families.interpreter(environment), families.interpreter("server")
    if built is not None:
        framework, server = built.framework_python, built.server_python
    components = [*_wheels({environment: framework, "server": server})]
    components.append(_extension())
    components += [_interpreter(version) for version in sorted({framework, server})]
    if built is None:
        base = families.base(image)
        made = families.as_of
        components.append(
            Component(
                name=base.reference,
                version=base.digest,
                type=ComponentType.CONTAINER,
                bom_ref=base.reference,
            )
        )
        digest = None
    else:
        made = datetime.fromtimestamp(int(built.created), UTC)
        components += _debian(built)
        digest = built.digest
    root = Component(name=tag, version=digest, type=ComponentType.CONTAINER, bom_ref=tag)
    content = repr((tag, digest, made, sorted(str(part.bom_ref) for part in components)))
    bom = Bom(
        components=components,
        serial_number=uuid.uuid5(uuid.NAMESPACE_URL, content),
        metadata=BomMetaData(component=root, timestamp=made),
    )
    bom.register_dependency(root, components)
    text = JsonV1Dot6(bom).output_as_string(indent=1)
    wrong = invalid(text)
    if wrong:
        raise BuildError(f"the bill of {tag} is no valid CycloneDX: {wrong}")
    return text


def invalid(text: str) -> str | None:
    """Return what CycloneDX's own schema says against a bill, or None."""
    error = JsonStrictValidator(SchemaVersion.V1_6).validate_str(text)
    return None if error is None else str(error)


def _wheels(pythons: dict[str, str]) -> Iterable[Component]:
    """Return the wheels; one that both environments have in one version is listed once."""
    found: dict[PackageURL, Component] = {}
    for environment, python in pythons.items():
        series = ".".join(python.split(".")[:2])
        where = "server" if environment == "server" else "framework"
        for pin in image_pins(environment, series):
            purl = PackageURL("pypi", name=pin.name, version=pin.version)
            component = found.setdefault(
                purl,
                Component(
                    name=pin.name,
                    version=pin.version,
                    type=ComponentType.LIBRARY,
                    bom_ref=str(purl),
                    purl=purl,
                ),
            )
            component.hashes.update(
                HashType(alg=HashAlgorithm.SHA_256, content=each.removeprefix("sha256:"))
                for each in pin.hashes
            )
            component.properties.add(_in(where))
    return found.values()


def _extension() -> Component:
    """Return the JupyterLab extension, which is built here and is in no lock."""
    text = IMAGES.parent.joinpath("labextension/pyproject.toml").read_text(encoding="utf-8")
    project = tomllib.loads(text)["project"]
    purl = PackageURL("pypi", name=project["name"], version=project["version"])
    return Component(
        name=project["name"],
        version=project["version"],
        type=ComponentType.LIBRARY,
        bom_ref=str(purl),
        purl=purl,
        properties=[_in("server")],
    )


def _in(environment: str) -> Property:
    return Property(name="jhub-tokens:environment", value=environment)


def _interpreter(version: str) -> Component:
    purl = PackageURL("generic", name="python", version=version)
    return Component(
        name="python",
        version=version,
        type=ComponentType.PLATFORM,
        bom_ref=str(purl),
        purl=purl,
        cpe=f"cpe:2.3:a:python:python:{version}:*:*:*:*:*:*:*",
    )


def _debian(built: Contents) -> Iterable[Component]:
    """Return the release, without which scanners skip its packages, and each package."""
    yield Component(
        name=built.distribution,
        version=built.release,
        type=ComponentType.OPERATING_SYSTEM,
        bom_ref=f"{built.distribution}-{built.release}",
    )
    for package in built.packages:
        purl = PackageURL(
            "deb",
            built.distribution,
            package.name,
            package.version,
            {"arch": package.architecture, "distro": f"{built.distribution}-{built.release}"},
        )
        yield Component(
            name=package.name,
            version=package.version,
            type=ComponentType.LIBRARY,
            bom_ref=str(purl),
            purl=purl,
            # Advisories speak of sources; these are the names under which Trivy reads them.
            properties=[
                Property(name="aquasecurity:trivy:SrcName", value=package.source),
                Property(name="aquasecurity:trivy:SrcVersion", value=package.source_version),
            ],
        )
