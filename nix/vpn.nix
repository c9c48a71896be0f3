# WireGuard, the operator's way in, where this machine's description names its key and peers. Otherwise
# `openclaw vpn` keeps them, and openclaw-vpn.service makes the interface.
{ config, lib, pkgs, ... }:
let
  inherit (import ./sources.nix) facts;
  cfg = config.services.openclaw;
  inherit (facts.vpn) interface;
  length = lib.last (lib.splitString "/" facts.vpn.network);
in
{
  options.services.openclaw.vpn = {
    privateKeyFile = lib.mkOption {
      type = lib.types.nullOr (lib.types.strMatching "/.*");
      default = null;
      example = "/run/secrets/wireguard";
      description = "The file of this machine's private key, outside the Nix store, readable for systemd-network alone.";
    };
    peers = lib.mkOption {
      default = [ ];
      description = "Who may connect to the VPN, and so to SSH and the operator's page.";
      type = lib.types.listOf (lib.types.submodule {
        options = {
          publicKey = lib.mkOption {
            type = lib.types.strMatching "[A-Za-z0-9+/]{43}=";
            description = "The peer's public key.";
          };
          address = lib.mkOption {
            type = lib.types.strMatching "[0-9.]+";
            description = "The peer's own address, in ${facts.vpn.network}.";
          };
        };
      });
    };
  };

  config = lib.mkIf cfg.enable {
    environment.systemPackages = [ pkgs.wireguard-tools ];
    boot.kernelModules = [ "wireguard" ];

    systemd.network = lib.mkIf (cfg.vpn.privateKeyFile != null) {
      netdevs.${interface} = {
        netdevConfig = { Kind = "wireguard"; Name = interface; };
        wireguardConfig = { PrivateKeyFile = cfg.vpn.privateKeyFile; ListenPort = facts.vpn.port; };
        # One address for each, so that none can speak for another.
        wireguardPeers = map (peer: { PublicKey = peer.publicKey; AllowedIPs = [ "${peer.address}/32" ]; }) cfg.vpn.peers;
      };
      networks.${interface} = {
        matchConfig.Name = interface;
        address = [ "${facts.vpn.address}/${length}" ];
        linkConfig.RequiredForOnline = false;
      };
    };

    assertions = [{
      assertion = cfg.vpn.peers == [ ] || cfg.vpn.privateKeyFile != null;
      message = "services.openclaw.vpn.peers are named here, so this machine's key must be too: set services.openclaw.vpn.privateKeyFile.";
    }];
  };
}
