# Evaluates the whole of the appliance over every module of a nixpkgs, and each refusal. `wrong` lists what is not as it
# must be, in words.
#   nix-instantiate --eval --strict --json nix/check/evaluate.nix --arg nixpkgs /path/to/nixpkgs -A wrong
{ nixpkgs, system ? "x86_64-linux" }:
let
  pkgs = import nixpkgs { inherit system; };
  inherit (pkgs) lib;
  sources = import ../sources.nix;
  machine = modules: import (nixpkgs + "/nixos/lib/eval-config.nix") {
    inherit lib;
    system = null;
    modules = [ ../module.nix ../appliance.nix { nixpkgs.pkgs = pkgs; } ] ++ modules;
  };

  # As somebody would have it who uses everything.
  full = {
    imports = [ ../disk.nix ];
    services.openclaw = {
      ssh.keys = [ "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA test" ];
      vpn.privateKeyFile = "/run/secrets/wireguard";
      vpn.peers = [{ publicKey = "AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="; address = lib.replaceStrings [ ".1" ] [ ".2" ] sources.facts.vpn.address; }];
      credentials."openclaw.keys.env" = "/run/secrets/openclaw.keys.env";
      settings = {
        access.owners = [ 123456789 ];
        spend.day = 2;
        session.instructions = "Answer in one sentence.";
        # Passed through: no option of the module has these names.
        turn.steps = 6;
        telegram.bot = [{ name = "main"; token = "TELEGRAM_BOT_TOKEN"; updates = "webhook"; }];
      };
    };
  };

  failed = evaluated: map (one: one.message) (lib.filter (one: ! one.assertion) evaluated.config.assertions);
  cases = import ./refused.nix { inherit lib sources; };
  # Of one refusal: what fails without the bad line, and what fails with each of them.
  judge = name: case: {
    without = if case ? good then failed (machine [ full case.good ]) else failed whole;
    "with" = map (bad: failed (machine [ full (case.good or { }) bad ])) (lib.toList case.bad);
  };
  refusals = lib.mapAttrs judge cases;
  says = name: message: lib.hasPrefix "OpenClaw refuses this configuration (${name}): " message && lib.hasInfix "\n  mend: " message;

  bare = machine [ ../disk.nix ];
  medium = machine [ (nixpkgs + "/nixos/modules/installer/cd-dvd/iso-image.nix") { services.openclaw.updates.byHand = true; } ];
  whole = machine [ full ];
  cfg = whole.config;
  places = sources.places {
    inherit (cfg.services.openclaw) package;
    cloudflared = cfg.services.openclaw.tunnel.package;
    inherit (pkgs) nftables;
  };
  # Undone, each unit's text is that of systemd/ again.
  original = lib.replaceStrings (map (place: place.to) places) (map (place: place.from) places);
  options = lib.filter (option: ! option.internal) (lib.optionAttrSetToDocList whole.options.services.openclaw);
  # Settings of sshd, as they stand in its file.
  sshd = lib.mapAttrs (name: _:
    let value = cfg.services.openssh.settings.${if name == "MACs" then "Macs" else name}; in
    if value == true then "yes" else if value == false then "no" else if lib.isList value then lib.concatStringsSep "," value else toString value)
    (removeAttrs sources.sshd [ "HostKey" ]);
  added = lib.filterAttrs (path: _: ! sources.units ? ${path}) cfg.services.openclaw.units;
in
{
  inherit refusals;
  settings = lib.filterAttrsRecursive (_: value: value != null) cfg.services.openclaw.settings;
  assertions = lib.length cfg.assertions;

  wrong =
    map (message: "the bare appliance: ${message}") (failed bare ++ bare.config.warnings)
    ++ map (message: "the medium to boot from: ${message}") (failed medium)
    ++ map (message: "a machine with everything set: ${message}") (failed whole ++ cfg.warnings)
    ++ lib.concatLists (lib.mapAttrsToList (path: text:
      lib.optional (original (cfg.services.openclaw.units.${path} or "") != text) "${path} is not what systemd/ has") sources.units)
    ++ lib.concatLists (lib.mapAttrsToList (path: text:
      lib.optional (! lib.hasSuffix ".d/90-changes.conf" path || lib.any (line: ! lib.hasPrefix "X-" line && line != "[Unit]" && line != "") (lib.splitString "\n" text))
        "${path} sets something that systemd/ does not") added)
    ++ lib.concatLists (lib.mapAttrsToList (unit: wantedBy:
      let there = bare.config.systemd.units.${unit} or { enable = false; }; in
      lib.optional (! there.enable || there.wantedBy != wantedBy) "${unit} is not started by ${toString wantedBy}") sources.wantedBy)
    ++ lib.optional (cfg.networking.firewall.allowedTCPPorts != [ ] || cfg.networking.firewall.allowedUDPPorts != [ sources.facts.vpn.port ])
      "NixOS's firewall opens something else than the VPN's port"
    ++ lib.optional (lib.any (name: cfg.boot.kernel.sysctl.${name} != sources.sysctl.${name}) (lib.attrNames sources.sysctl)) "sysctl settings differ"
    ++ lib.optional (lib.any (name: ! cfg.users.users.${name}.isSystemUser || cfg.users.users.${name}.group != name) (lib.attrNames sources.sysusers.users)) "users differ"
    ++ lib.optional (lib.any (line: ! lib.any (lib.hasPrefix (lib.head (lib.splitString " - " line))) cfg.systemd.tmpfiles.rules)
      (lib.filter (lib.hasPrefix "d ") sources.tmpfiles)) "folders differ"
    ++ lib.optional (sshd != lib.mapAttrs (_: toString) (removeAttrs sources.sshd [ "HostKey" ])) "sshd has other settings: ${builtins.toJSON sshd}"
    ++ lib.optional (cfg.systemd.units ? "openclaw-vpn.service") "two services make the VPN's interface"
    ++ map (option: "${option.name} has no description") (lib.filter (option: option.description or null == null) options)
    ++ map (name: "the refusal ${name} has no case in nix/check/refused.nix") (lib.subtractLists (lib.attrNames cases) cfg.services.openclaw.refusals)
    ++ lib.concatLists (lib.mapAttrsToList (name: found:
      map (message: "${name}: without its bad line: ${message}") found.without
      ++ lib.concatMap (messages: lib.optional (lib.length messages != 1 || ! says name (lib.head messages))
        "${name}: with its bad line: ${if messages == [ ] then "nothing is refused" else toString messages}") found."with") refusals);
}
