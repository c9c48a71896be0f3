# SSH with the settings of systemd/sshd_config.d. That it is reached over the VPN alone is the firewall's part.
{ config, lib, ... }:
let
  sources = import ./sources.nix;
  cfg = config.services.openclaw;
  # NixOS writes these names in its own way, and these values as lists.
  names = { MACs = "Macs"; };
  lists = [ "KexAlgorithms" "Ciphers" "MACs" ];
  words = { yes = true; no = false; };
  value = name: text:
    if lib.elem name lists then lib.splitString "," text
    else if name == "GatewayPorts" then text
    else words.${toString text} or text;
in
{
  options.services.openclaw.ssh.keys = lib.mkOption {
    type = lib.types.listOf lib.types.singleLineStr;
    default = [ ];
    description = "The operator's SSH keys (public). They log in as root, over the VPN.";
  };

  config = lib.mkIf cfg.enable {
    services.openssh = {
      enable = lib.mkDefault true;
      openFirewall = lib.mkDefault false;
      ports = lib.mkDefault [ sources.facts.ssh.port ];
      hostKeys = lib.mkDefault [{
        path = sources.sshd.HostKey;
        type = lib.head (builtins.match ".*/ssh_host_(.*)_key" sources.sshd.HostKey);
      }];
      settings = lib.mapAttrs' (name: text: lib.nameValuePair (names.${name} or name) (lib.mkDefault (value name text)))
        (removeAttrs sources.sshd [ "HostKey" ]);
    };
    users.users.root.openssh.authorizedKeys.keys = cfg.ssh.keys;
  };
}
