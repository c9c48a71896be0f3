{
  description = "OpenClaw: a self-hosted AI assistant on a hardened appliance";

  # Any nixpkgs with systemd 257 and the Rust of Cargo.toml will do; with an older one the evaluation says what it lacks.
  inputs.nixpkgs.url = "github:NixOS/nixpkgs/nixos-unstable";

  outputs = { self, nixpkgs }:
    let
      inherit (nixpkgs) lib;
      each = lib.genAttrs [ "x86_64-linux" "aarch64-linux" ];
      pkgs = system: nixpkgs.legacyPackages.${system};
      machine = system: modules: lib.nixosSystem {
        modules = [ self.nixosModules.default ./nix/appliance.nix { nixpkgs.hostPlatform = system; } ] ++ modules;
      };
      openclaw = system: (pkgs system).callPackage ./nix/package.nix { };
    in
    {
      nixosModules.default = ./nix/module.nix;
      nixosConfigurations.appliance = machine "x86_64-linux" [ ./nix/disk.nix ];

      packages = each (system: import ./nix/images.nix {
        inherit nixpkgs;
        pkgs = pkgs system;
        machine = machine system;
      } // { default = openclaw system; });

      # `nix run`: the three processes and a chat in this terminal, as `make run` starts them.
      apps = each (system: {
        default = {
          type = "app";
          program = toString ((pkgs system).writeShellScript "openclaw-chat" ''exec ${openclaw system}/bin/openclaw run --chat "$@"'');
        };
        openclaw = { type = "app"; program = "${openclaw system}/bin/openclaw"; };
      });

      checks = each (system: {
        package = openclaw system;
        appliance = (pkgs system).testers.runNixOSTest ./nix/check/appliance.nix;
        evaluation =
          let report = import ./nix/check/evaluate.nix { nixpkgs = nixpkgs.outPath; inherit system; };
          in (pkgs system).runCommand "openclaw-evaluation" { } (lib.throwIf (report.wrong != [ ]) (lib.concatStringsSep "\n" report.wrong) "touch $out");
      });

      templates.default = { path = ./nix/machine; description = "A machine of your own"; };
    };
}
