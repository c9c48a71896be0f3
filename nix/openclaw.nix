# Gateway, egress, runner, front and drill: their units and users as systemd/ has them, and their configuration.
{ config, lib, pkgs, ... }:
let
  sources = import ./sources.nix;
  inherit (sources) facts;
  cfg = config.services.openclaw;
  toml = pkgs.formats.toml { };
  at = path: "${facts.install.state}/${path}";
  ours = lib.filter (lib.hasSuffix ".service") (lib.attrNames sources.units);

  # What is not set is left to the program, which has a default for everything.
  set = lib.filterAttrsRecursive (_: value: value != null) cfg.settings;
  configuration = pkgs.runCommand "openclaw.toml" { source = toml.generate "openclaw.toml" set; } ''
    ${cfg.package}/bin/openclaw config check --state "$TMPDIR" --config "$source"
    cp "$source" "$out"
  '';

  placed = sources.placed (sources.places {
    inherit (cfg) package;
    cloudflared = cfg.tunnel.package;
    inherit (pkgs) nftables;
  });
  # Of a unit NixOS compares its own text alone, and neither the drop-ins for all of ours nor the configuration.
  changes = builtins.hashString "sha256" (lib.concatStrings (lib.attrValues (lib.mapAttrs (_: placed) sources.units)) + "${configuration}");
  anew = unit: if lib.hasInfix "\nExecReload=" sources.units.${unit}
    then "X-ReloadIfChanged=true\nX-Reload-Triggers=${changes}"
    else "X-Restart-Triggers=${changes}";
  texts = lib.mapAttrs (_: placed) sources.units
    // lib.listToAttrs (map (unit: lib.nameValuePair "${unit}.d/90-changes.conf" "[Unit]\n${anew unit}\n") ours);
  units = pkgs.runCommand "openclaw-units" { preferLocalBuild = true; } (lib.concatStrings (lib.mapAttrsToList (path: text: ''
    install -D -m 444 ${pkgs.writeText (lib.strings.sanitizeDerivationName (baseNameOf path)) text} "$out"/${lib.escapeShellArg "lib/systemd/system/${path}"}
  '') texts));

  # The configuration is this machine's description, not what the first start found: a link replaces the copy.
  folders = map placed (lib.filter (line: ! lib.hasInfix " ${at facts.state.config} " line) sources.tmpfiles) ++ [
    "L+ ${at facts.state.config} - - - - ${configuration}"
  ];
  # Where the operator's commands look for what is installed.
  installed = pkgs.linkFarm "openclaw-installed" ([
    { name = "skills"; path = "${cfg.package}/skills"; }
    { name = "cloudflared/config.yml"; path = sources.cloudflared.config; }
    { name = "bin/cloudflared"; path = "${cfg.tunnel.package}/bin/cloudflared"; }
  ] ++ map (program: { name = "bin/${program}"; path = "${cfg.package}/bin/${program}"; }) (lib.attrValues facts.programs));
  stores = lib.mapAttrsToList (name: path: "L+ /run/credstore/${name} - - - - ${path}") cfg.credentials;

  maybe = type: description: lib.mkOption { type = lib.types.nullOr type; default = null; inherit description; };
in
{
  options.services.openclaw = {
    enable = lib.mkEnableOption "OpenClaw, to which this machine then belongs: its firewall closes everything else";

    package = lib.mkOption {
      type = lib.types.package;
      default = pkgs.callPackage ./package.nix { };
      defaultText = lib.literalExpression "pkgs.callPackage ./package.nix { }";
      description = "The programs in `bin` and the bundled skills in `skills`.";
    };

    settings = lib.mkOption {
      default = { };
      example = { access.owners = [ 123456789 ]; spend.day = 2; };
      description = ''
        openclaw.toml, key by key. `openclaw config show` lists every key with its default; keys that are not among the
        options here are passed through as they are, and `openclaw config check` judges the whole when the system is built.
        The file is in the Nix store, where every user of the machine can read it: keys and tokens stand in it by name only.
      '';
      type = lib.types.submodule {
        freeformType = toml.type;
        options = {
          profile = maybe (lib.types.enum [ "production" "development" ])
            "`production` starts with everything that the kernel can enforce, or not at all.";
          webhook.listen = maybe lib.types.str "Where the webhook listens: a loopback address, or `unix:/path`.";
          webhook.from = maybe (lib.types.enum [ "tunnel" "direct" ]) "Who connects: the tunnel, or openclaw-front, to which Telegram comes itself.";
          webhook.peer = maybe lib.types.str "The user that may connect to the webhook's unix socket besides our own.";
          webhook.public_url = maybe lib.types.str "What Telegram calls, such as `https://bot.example.com`.";
          access.owners = maybe (lib.types.listOf lib.types.ints.positive) "Numeric Telegram ids of the owners.";
          access.people = maybe (lib.types.listOf lib.types.ints.positive) "Numeric Telegram ids of those who are answered.";
          spend.day = maybe (lib.types.either lib.types.number (lib.types.enum [ "none" ]))
            "What may be spent in a day, in dollars of the United States.";
          spend.month = maybe (lib.types.either lib.types.number (lib.types.enum [ "none" ]))
            "What may be spent in a month, in dollars of the United States.";
          session.instructions = maybe lib.types.str "Your instructions to the assistant.";
        };
      };
    };

    credentials = lib.mkOption {
      type = lib.types.attrsOf (lib.types.strMatching "/.*");
      default = { };
      example = { "openclaw.keys.env" = "/run/secrets/openclaw.keys.env"; };
      description = ''
        Credentials of our services (systemd.exec(5), ImportCredential=) by name, and the file in which each is, outside the
        Nix store. What lies in /etc/credstore or, sealed, in /etc/credstore.encrypted needs no entry here.
      '';
    };

    units = lib.mkOption {
      type = lib.types.attrsOf lib.types.lines;
      default = texts;
      readOnly = true;
      internal = true;
      description = "The units and their drop-ins, by path.";
    };
  };

  config = lib.mkIf cfg.enable {
    services.openclaw.settings = lib.mapAttrsRecursive (_: lib.mkDefault) sources.settings;

    systemd.packages = [ units ];
    # NixOS knows neither [Install] nor presets.
    systemd.units = lib.mapAttrs (_: wantedBy: { inherit wantedBy; })
      (lib.filterAttrs (unit: _:
        (cfg.tunnel.enable || ! lib.hasPrefix "openclaw-tunnel" unit)
        # Two that make the same interface would be in each other's way.
        && (cfg.vpn.privateKeyFile == null || unit != "openclaw-vpn.service")) sources.wantedBy);
    systemd.tmpfiles.rules = folders ++ stores ++ [ "L+ ${sources.installed} - - - - ${installed}" ];

    users.groups = lib.genAttrs (sources.sysusers.groups ++ lib.attrNames sources.sysusers.users) (_: { });
    users.users = lib.mapAttrs (name: user: {
      isSystemUser = true;
      group = name;
      extraGroups = user.groups;
      inherit (user) description home;
    }) sources.sysusers.users;

    environment.systemPackages = [ cfg.package ];
    # Our processes have no business with the daemon that builds the system.
    nix.settings.allowed-users = lib.mkDefault [ "root" "@wheel" ];

    assertions = [
      {
        assertion = lib.versionAtLeast config.systemd.package.version "257";
        message = "OpenClaw's units need systemd 257 (PrivateUsers=identity), this is ${config.systemd.package.version}: take a newer nixpkgs.";
      }
      {
        assertion = lib.all (name: lib.any (pattern: builtins.match pattern name != null) sources.credentials) (lib.attrNames cfg.credentials);
        message = "services.openclaw.credentials: no service of ours imports ${toString (lib.attrNames cfg.credentials)}; their names are ${toString sources.credentials}.";
      }
    ];
  };
}
