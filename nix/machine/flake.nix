{
  description = "My assistant's machine";

  # Where OpenClaw comes from: the address of its repository, or a folder ("path:/srv/openclaw").
  inputs.openclaw.url = "path:/srv/openclaw";

  outputs = { openclaw, ... }: {
    nixosConfigurations.appliance = openclaw.inputs.nixpkgs.lib.nixosSystem {
      modules = [
        openclaw.nixosModules.default
        "${openclaw}/nix/appliance.nix"
        "${openclaw}/nix/disk.nix"
        ./machine.nix
      ];
    };
  };
}
