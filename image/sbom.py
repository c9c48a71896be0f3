"""Writes what an image is made of as CycloneDX 1.6: Debian's packages by packages.lock, crates by `cargo tree` and Cargo.lock.

Usage: sbom.py NAME VERSION CARGO_LOCK CRATES PACKAGES      (CRATES: lines "name vVERSION ...|licence"; PACKAGES: image/locked)"""

import datetime, json, os, sys, tomllib, uuid
from urllib.parse import quote

name, version, cargo_lock, crates, packages = sys.argv[1:]
made = datetime.datetime.fromtimestamp(int(os.environ["SOURCE_DATE_EPOCH"]), datetime.timezone.utc)


def component(kind, named, is_version, purl, sha256=None, licence=None):
    entry = {"type": kind, "bom-ref": purl, "name": named, "version": is_version, "purl": purl}
    if sha256:
        entry["hashes"] = [{"alg": "SHA-256", "content": sha256}]
    if licence:
        entry["licenses"] = [{"expression": licence}]
    return entry


components = []
for line in open(packages):
    package, package_version, architecture, _, digest, _ = line.split()
    purl = f"pkg:deb/debian/{quote(package)}@{quote(package_version)}?arch={architecture}&distro=debian-13"
    components.append(component("library", package, package_version, purl, digest))

checksums = {(entry["name"], entry["version"]): entry.get("checksum") for entry in tomllib.load(open(cargo_lock, "rb"))["package"]}
seen = set()
for line in open(crates):
    words, _, licence = line.strip().partition("|")
    if not words:
        continue
    crate, crate_version = words.split()[0], words.split()[1].lstrip("v")
    if (crate, crate_version) in seen:
        continue
    seen.add((crate, crate_version))
    if (crate, crate_version) not in checksums:
        sys.exit(f"sbom: {crate} {crate_version} is not in {cargo_lock}")
    # Older crates write "MIT/Apache-2.0", which is no SPDX expression.
    licence = licence.replace("/", " OR ") or None
    purl = f"pkg:cargo/{quote(crate)}@{quote(crate_version)}"
    components.append(component("library", crate, crate_version, purl, checksums[(crate, crate_version)], licence))

components.sort(key=lambda entry: entry["bom-ref"])
own = component("operating-system" if os.path.getsize(packages) else "container", name, version, f"pkg:generic/{name}@{version}")
json.dump(
    {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": "urn:uuid:" + str(uuid.uuid5(uuid.NAMESPACE_URL, own["purl"])),
        "version": 1,
        "metadata": {"timestamp": made.strftime("%Y-%m-%dT%H:%M:%SZ"), "component": own},
        "components": components,
    },
    sys.stdout,
    indent=1,
    sort_keys=True,
)
print()
