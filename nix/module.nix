# The NixOS module, part by part. Each file holds one service whole: its options, units, users and firewall.
{
  imports = [
    ./openclaw.nix
    ./tunnel.nix
    ./direct.nix
    ./firewall.nix
    ./vpn.nix
    ./ssh.nix
    ./kernel.nix
    ./updates.nix
    ./refusals.nix
  ];
}
