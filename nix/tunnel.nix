# The tunnel: cloudflared with the configuration of cloudflared/config.yml. Its units come with all the others; which of
# the two runs is a matter of which credential there is.
{ config, lib, pkgs, ... }:
let
  sources = import ./sources.nix;
  cfg = config.services.openclaw;
  cloudflared = cfg.tunnel.package;
in
{
  options.services.openclaw.tunnel = {
    enable = lib.mkOption {
      type = lib.types.bool;
      default = true;
      description = ''
        Whether Telegram's deliveries come through a Cloudflare Tunnel. It starts when there is one of the credentials
        `openclaw.tunnel.json` and `openclaw.tunnel.token`; without one, bots poll.
      '';
    };
    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.cloudflared;
      defaultText = lib.literalExpression "pkgs.cloudflared";
      description = "cloudflared. It is replaced with the system, never by itself.";
    };
  };

  config = lib.mkIf (cfg.enable && cfg.tunnel.enable) {
    warnings = lib.optional (lib.versionOlder cloudflared.version sources.cloudflared.version)
      "OpenClaw was tried with cloudflared ${sources.cloudflared.version}, and this is ${cloudflared.version}: take a newer nixpkgs, or set services.openclaw.tunnel.package.";

    # A key that it does not know is only a warning to it, and then a rule is not what it seems.
    system.checks = [
      (pkgs.runCommand "cloudflared-config" { } ''
        said=$(HOME=$TMPDIR ${cloudflared}/bin/cloudflared tunnel --config ${sources.cloudflared.config} ingress validate 2>&1)
        case $said in *unused*) echo "$said" >&2; exit 1 ;; esac
        touch "$out"
      '')
    ];
  };
}
