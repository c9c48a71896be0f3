#!/usr/bin/env python3
"""Makes an OCI image layout whose bytes depend on nothing but the files given: sorted, with one time, owned as said.

Usage: oci.py LAYOUT TAG=FOLDER[,FOLDER...] ...      (SOURCE_DATE_EPOCH is the time; each FOLDER becomes one layer)
A file "owners" beside a folder ("FOLDER.owners", lines of PATH UID) says who owns what; all else is root's."""

import datetime, gzip, hashlib, io, json, os, sys, tarfile

EPOCH = int(os.environ["SOURCE_DATE_EPOCH"])
CREATED = datetime.datetime.fromtimestamp(EPOCH, datetime.timezone.utc).strftime("%Y-%m-%dT%H:%M:%SZ")
PROGRAMS = "/usr/lib/openclaw/bin"
CONFIG = {
    # Root only for as long as it takes to become the user named here, with nothing of root's left.
    "Entrypoint": [f"{PROGRAMS}/openclaw", "run", "--user", "openclaw", "--state", "/var/lib/openclaw", "--home", "/home/openclaw"],
    # The second is where the operator's commands look for the state.
    "Env": [f"PATH={PROGRAMS}:/usr/local/bin:/usr/bin", "XDG_STATE_HOME=/var/lib"],
    "Volumes": {"/var/lib/openclaw": {}, "/home/openclaw": {}},
    "WorkingDir": "/",
    "StopSignal": "SIGTERM",
    "Labels": {
        "org.opencontainers.image.title": "OpenClaw",
        "org.opencontainers.image.licenses": "Apache-2.0",
        "org.opencontainers.image.version": os.environ["IMAGE_VERSION"],
    },
}


def layer(folder):
    owners = {}
    if os.path.exists(folder + ".owners"):
        for line in open(folder + ".owners"):
            path, uid = line.split()
            owners[path] = int(uid)
    names = []
    for top, folders, files in os.walk(folder):
        names += [os.path.relpath(os.path.join(top, name), folder) for name in folders + files]
    packed, plain = io.BytesIO(), hashlib.sha256()

    class Both:
        def __init__(self, to):
            self.to = to

        def write(self, data):
            plain.update(data)
            return self.to.write(data)

    with gzip.GzipFile("", "wb", 6, packed, 0) as zipped:
        with tarfile.open(fileobj=Both(zipped), mode="w|", format=tarfile.PAX_FORMAT) as tar:
            for name in sorted(names):
                entry = tar.gettarinfo(os.path.join(folder, name), arcname=name)
                entry.mtime, entry.uname, entry.gname = EPOCH, "", ""
                entry.uid = entry.gid = owners.get(name, 0)
                if entry.isfile():
                    # Links between files of the folder here mean nothing there.
                    entry.type, entry.size = tarfile.REGTYPE, os.path.getsize(os.path.join(folder, name))
                    with open(os.path.join(folder, name), "rb") as file:
                        tar.addfile(entry, file)
                else:
                    tar.addfile(entry)
    return packed.getvalue(), "sha256:" + plain.hexdigest()


def main(to, *tags):
    blobs = os.path.join(to, "blobs/sha256")
    os.makedirs(blobs, exist_ok=True)

    def put(kind, data):
        digest = hashlib.sha256(data).hexdigest()
        with open(os.path.join(blobs, digest), "wb") as file:
            file.write(data)
        return {"mediaType": f"application/vnd.oci.image.{kind}", "digest": "sha256:" + digest, "size": len(data)}

    def text(value):
        return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()

    made, manifests = {}, []
    for tag in tags:
        name, folders = tag.split("=")
        layers, ids = [], []
        for folder in folders.split(","):
            if folder not in made:
                packed, identity = layer(folder)
                made[folder] = put("layer.v1.tar+gzip", packed), identity
            layers.append(made[folder][0])
            ids.append(made[folder][1])
        config = put(
            "config.v1+json",
            text(
                {
                    "created": CREATED,
                    "architecture": "amd64",
                    "os": "linux",
                    "config": CONFIG,
                    "rootfs": {"type": "layers", "diff_ids": ids},
                    "history": [{"created": CREATED, "created_by": "openclaw image"} for _ in ids],
                }
            ),
        )
        kind = "application/vnd.oci.image.manifest.v1+json"
        manifest = put("manifest.v1+json", text({"schemaVersion": 2, "mediaType": kind, "config": config, "layers": layers}))
        manifests.append({**manifest, "annotations": {"org.opencontainers.image.ref.name": name}})
        size = sum(entry["size"] for entry in layers) / 1e6
        print(f"image: openclaw:{name} is {size:.1f} MB compressed, {manifest['digest']}", file=sys.stderr)
    index = {"schemaVersion": 2, "mediaType": "application/vnd.oci.image.index.v1+json", "manifests": manifests}
    with open(os.path.join(to, "index.json"), "wb") as file:
        file.write(text(index))
    with open(os.path.join(to, "oci-layout"), "w") as file:
        file.write('{"imageLayoutVersion":"1.0.0"}')


main(*sys.argv[1:])
