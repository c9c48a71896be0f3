# Security updates: system.autoUpgrade builds this machine's flake anew, with its inputs as new as they are.
{ config, lib, ... }:
let
  cfg = config.services.openclaw;
  upgrade = config.system.autoUpgrade;
in
{
  options.services.openclaw.updates = {
    flake = lib.mkOption {
      type = lib.types.str;
      default = "/etc/nixos";
      example = "github:you/machine";
      description = ''
        The flake of this machine. One in a folder gets its inputs renewed before each upgrade; of one elsewhere the lock
        file counts, and whoever keeps it renews it.
      '';
    };
    byHand = lib.mkOption {
      type = lib.types.bool;
      default = false;
      description = "Whether somebody else than this machine brings its updates, such as a deployment tool.";
    };
  };

  config = lib.mkIf (cfg.enable && ! cfg.updates.byHand) {
    system.autoUpgrade = {
      enable = lib.mkDefault true;
      flake = lib.mkDefault cfg.updates.flake;
      dates = lib.mkDefault "04:40";
      randomizedDelaySec = lib.mkDefault "1h";
      # A new kernel is in force after a boot only.
      allowReboot = lib.mkDefault true;
      rebootWindow = lib.mkDefault { lower = "02:00"; upper = "06:00"; };
    };
    systemd.services.nixos-upgrade = lib.mkIf (upgrade.enable && upgrade.flake != null && lib.hasPrefix "/" upgrade.flake) {
      preStart = "${config.nix.package}/bin/nix --extra-experimental-features 'nix-command flakes' flake update --flake ${lib.escapeShellArg upgrade.flake}";
    };
    nix.settings.experimental-features = [ "nix-command" "flakes" ];
  };
}
