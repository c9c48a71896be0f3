# The firewall. What comes in and who goes out is said by openclaw-firewall.service, which makes its rules of
# gateway/appliance.toml; it comes with all other units. NixOS's own firewall stays as a second wall with the same openings,
# so that with either of them gone the machine is closed.
{ config, lib, ... }:
let
  sources = import ./sources.nix;
  inherit (sources) facts;
  cfg = config.services.openclaw;
  direct = cfg.settings.webhook.from == "direct";
  challenge = if cfg.settings.direct.challenge or "http" == "tls" then facts.direct.port else facts.direct.challenge;
  operator = [ facts.ssh.port facts.admin.port ];
  accept = range: port:
    "${if lib.hasInfix ":" range then "ip6tables" else "iptables"} -A nixos-fw -p tcp -s ${range} --dport ${toString port} -j nixos-fw-accept\n";
in
{
  config = lib.mkIf cfg.enable {
    networking.firewall = {
      enable = lib.mkDefault true;
      allowedUDPPorts = [ facts.vpn.port ];
      interfaces = lib.genAttrs [ facts.vpn.interface facts.vpn.tailscale ] (_: { allowedTCPPorts = operator; });
      # A challenge is answered while our own rules hold its port open, which is for minutes.
      extraCommands = lib.mkIf direct (lib.concatMapStrings (range: accept range facts.direct.port) facts.telegram.ranges
        + lib.concatMapStrings (all: accept all challenge) [ "0.0.0.0/0" "::/0" ]);
      logRefusedConnections = lib.mkDefault false;
    };

    # The users that the facts let out to ask for names, leases and the time.
    services.resolved.enable = lib.mkDefault true;
    environment.etc = lib.mapAttrs' (name: text: lib.nameValuePair "systemd/resolved.conf.d/${name}" { inherit text; }) sources.resolved;
    networking.useNetworkd = lib.mkDefault true;
    services.timesyncd.enable = lib.mkDefault true;
  };
}
