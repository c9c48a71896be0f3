# The programs in bin and the bundled skills in skills, side by side, as `make build` lays them out in target/dist.
{ lib, rustPlatform, rustc, glibc }:
let
  workspace = (lib.importTOML ../Cargo.toml).workspace.package;
  folders = builtins.attrNames (lib.filterAttrs (name: type: type == "directory" && builtins.pathExists (../gateway/skills + "/${name}/skill.toml")) (builtins.readDir ../gateway/skills));
  crate = folder: (lib.importTOML (../gateway/skills + "/${folder}/Cargo.toml")).package.name;
  skills = lib.genAttrs folders crate;
  each = option: lib.concatMap (name: [ option name ]) (lib.attrValues skills);

  common = {
    inherit (workspace) version;
    src = lib.fileset.toSource {
      root = ../.;
      fileset = lib.fileset.unions [
        ../Cargo.toml ../Cargo.lock ../.cargo ../gateway ../systemd ../README.md
        # Cargo reads the manifests of the whole workspace, and looks whether the files are there that they name.
        ../tests/Cargo.toml (lib.fileset.fileFilter (file: file.hasExt "rs") ../tests)
      ];
    };
    # The digests of all dependencies are those of the lock file; there is none to keep here.
    cargoLock.lockFile = ../Cargo.lock;
    strictDeps = true;
    # The tests ask things of the kernel that no sandbox grants; `make check` runs them.
    doCheck = false;
    meta = {
      description = "Self-hosted AI assistant: what reads strangers' words, what holds the keys, and what executes are three processes";
      license = lib.licenses.asl20;
      platforms = [ "x86_64-linux" "aarch64-linux" ];
      mainProgram = "openclaw";
    };
  };

  # Static, so that a jail shows nothing of the Nix store but the skill itself.
  static = rustPlatform.buildRustPackage (common // {
    pname = "openclaw-skills";
    cargoBuildFlags = [ "--bins" ] ++ each "--package";
    buildInputs = [ glibc.static ];
    env.RUSTFLAGS = "-C target-feature=+crt-static";
    postInstall = lib.concatStrings (lib.mapAttrsToList (folder: _: ''
      install -D -m 555 "$out/bin/${folder}" "$out/skills/${folder}/bin/${folder}"
      install -m 444 gateway/skills/${folder}/skill.toml gateway/skills/${folder}/SKILL.md "$out/skills/${folder}/"
    '') skills) + ''
      rm -r "$out/bin"
    '';
  });
in
assert lib.assertMsg (lib.versionAtLeast rustc.version workspace.rust-version)
  "OpenClaw needs Rust ${workspace.rust-version}, this nixpkgs has ${rustc.version}: take a newer one.";
rustPlatform.buildRustPackage (common // {
  pname = "openclaw";
  cargoBuildFlags = [ "--bins" "--workspace" "--exclude" "openclaw-tests" ] ++ each "--exclude";
  # A skill's digest is that of its folder: real files, no links.
  postInstall = ''
    cp -r ${static}/skills "$out/skills"
    install -D -m 444 -t "$out/share/doc/openclaw" README.md gateway/README.md
  '';
  # The configurations that come along are good, and a bad one is told apart.
  doCheck = true;
  checkPhase = ''
    runHook preCheck
    judge() { find target -path '*/release/openclaw' -type f -exec {} config check --state "$TMPDIR" --config "$1" \; -quit; }
    for good in gateway/wire/src/openclaw.toml systemd/openclaw.toml; do
      said=$(judge "$good"); echo "$said"
      [[ $said == *": good" ]]
    done
    echo 'nonsense = 1' > "$TMPDIR/bad.toml"
    [[ $(judge "$TMPDIR/bad.toml") == *nonsense* ]]
    runHook postCheck
  '';
  passthru.skills = static;
})
