# Settings of the kernel, those of systemd/sysctl.d.
{ config, lib, ... }:
{
  config = lib.mkIf config.services.openclaw.enable {
    boot.kernel.sysctl = (import ./sources.nix).sysctl;
    # A dump of memory holds conversations or keys.
    systemd.coredump.enable = lib.mkDefault false;
  };
}
