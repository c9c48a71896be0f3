# The appliance as images: a virtual machine to look at, a disk, a medium to boot from, and an OCI image without an
# operating system. `machine` makes a system of further modules beside appliance.nix.
{ nixpkgs, pkgs, machine }:
let
  inherit (pkgs) lib;
  nixos = nixpkgs + "/nixos";
  disk = machine [ ./disk.nix ];
  openclaw = disk.config.services.openclaw.package;
  state = (import ./sources.nix).facts.install.state;
in
{
  # result/bin/run-appliance-vm starts it in QEMU, on a disk of its own in the folder where it is called.
  vm = disk.config.system.build.vm;

  # nixos.img: GPT with an EFI partition and an ext4 root, to write to a disk or to start a virtual machine from.
  raw = import (nixos + "/lib/make-disk-image.nix") {
    inherit (disk) config;
    inherit lib pkgs;
    name = "openclaw-appliance";
    format = "raw";
    partitionTableType = "efi";
    diskSize = "auto";
    additionalSpace = "2G";
    copyChannel = false;
  };

  # Boots into the appliance, and forgets everything when it is switched off: nothing for an update to change.
  iso = (machine [
    (nixos + "/modules/installer/cd-dvd/iso-image.nix")
    {
      isoImage.makeEfiBootable = true;
      isoImage.makeUsbBootable = true;
      services.openclaw.updates.byHand = true;
    }
  ]).config.system.build.isoImage;

  # The processes under `openclaw run`, one user, no shell. Jails need more of the container than it grants by default;
  # `openclaw doctor` says what, and without it the assistant answers and runs no skill.
  oci = pkgs.dockerTools.buildLayeredImage {
    name = "openclaw";
    tag = openclaw.version;
    contents = [ pkgs.dockerTools.caCertificates ];
    extraCommands = "mkdir -p tmp .${state}";
    fakeRootCommands = "chmod 1777 tmp; chmod 700 .${state}; chown 65532:65532 .${state}";
    config = {
      Entrypoint = [ "${openclaw}/bin/openclaw" ];
      Cmd = [ "run" "--state" state ];
      User = "65532:65532";
      Env = [ "HOME=${state}" ];
      Volumes.${state} = { };
    };
  };
}
