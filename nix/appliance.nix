# A machine that is OpenClaw's alone: what nixosConfigurations.appliance is, and every image is made of. What it boots from
# is said by disk.nix or by the image.
{ config, lib, ... }:
{
  services.openclaw.enable = true;

  networking.hostName = lib.mkDefault "appliance";
  system.stateVersion = lib.mkDefault "25.05";

  # In a virtual machine or on hardware, with a screen or a serial line.
  boot.initrd.availableKernelModules = [ "ahci" "nvme" "sd_mod" "usb_storage" "virtio_blk" "virtio_pci" "virtio_scsi" "xhci_pci" ];
  boot.kernelParams = [ "console=tty0" "console=ttyS0" ];

  # What is described is what there is: no password, and root by key over the VPN. Without a key nobody logs in.
  users.mutableUsers = false;
  users.allowNoPasswordLogin = config.services.openclaw.ssh.keys == [ ];
  security.sudo.enable = lib.mkDefault false;

  # Sources are fetched by the one build user that the firewall lets out (gateway/appliance.toml).
  nix.nrBuildUsers = 1;
  nix.settings.max-jobs = 1;
  nix.gc = { automatic = lib.mkDefault true; dates = lib.mkDefault "weekly"; options = lib.mkDefault "--delete-older-than 30d"; };

  # Nothing that a machine without a screen has no use for.
  documentation.enable = lib.mkDefault false;
  environment.defaultPackages = lib.mkDefault [ ];
  programs.command-not-found.enable = lib.mkDefault false;
}
