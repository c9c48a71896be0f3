# Direct mode: openclaw-front in the tunnel's place. Its units come with all the others, and wait for the word of
# openclaw-firewall.service; here is what the configuration needs beside `webhook.from` and `webhook.public_url`.
{ config, lib, ... }:
let
  inherit (import ./sources.nix) facts;
  cfg = config.services.openclaw;
  # Before what systemd/openclaw.toml says for the tunnel, after what the machine's own settings say.
  instead = value: lib.mkIf (cfg.settings.webhook.from == "direct") (lib.mkOverride 900 value);
in
{
  config = lib.mkIf cfg.enable {
    services.openclaw.settings.webhook = {
      listen = instead "unix:${facts.unix.webhook_for_front}";
      peer = instead facts.users.front;
    };
  };
}
