# The appliance on a disk as images.nix lays it out: an EFI partition and a root that grows to the disk's size. The last
# systems stay in the boot menu, so that an update that does not start is gone back from.
{ lib, ... }:
{
  boot.loader.systemd-boot = {
    enable = lib.mkDefault true;
    configurationLimit = lib.mkDefault 5;
    # Whoever edits a kernel's command line is root.
    editor = lib.mkDefault false;
  };
  boot.growPartition = lib.mkDefault true;
  fileSystems."/" = lib.mkDefault { device = "/dev/disk/by-label/nixos"; fsType = "ext4"; autoResize = true; };
  fileSystems."/boot" = lib.mkDefault { device = "/dev/disk/by-label/ESP"; fsType = "vfat"; options = [ "umask=0077" ]; };
}
