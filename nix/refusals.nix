# Combinations that are not secure: the evaluation fails and says what mends it. nix/check/refused.nix shows each of them
# failing, and the same configuration without its bad line passing.
{ config, lib, ... }:
let
  sources = import ./sources.nix;
  inherit (sources) facts;
  cfg = config.services.openclaw;
  inherit (cfg) settings;
  firewall = config.networking.firewall;
  ssh = config.services.openssh;
  users = config.users;

  ours = lib.attrNames sources.sysusers.users;
  services = map (lib.removeSuffix ".service") (lib.filter (lib.hasSuffix ".service") (lib.attrNames sources.units));
  named = lib.concatStringsSep ", ";

  # Openings of NixOS's firewall, by interface; "" is every interface.
  openings = { "" = firewall; } // firewall.interfaces;
  opens = port: place: lib.elem port place.allowedTCPPorts
    || lib.any (range: range.from <= port && port <= range.to) place.allowedTCPPortRanges;
  outside = lib.filterAttrs (name: _: ! lib.elem name [ "lo" facts.vpn.interface facts.vpn.tailscale ]) openings;
  worldwide = port: lib.any (opens port) (lib.attrValues outside);

  # Every text in the settings with the name of its key.
  leaves = name: value:
    if lib.isAttrs value then lib.concatLists (lib.mapAttrsToList leaves value)
    else if lib.isList value then lib.concatMap (leaves name) value
    else lib.optional (lib.isString value) { inherit name value; };
  # Word by word: no key has a space in it.
  has = pattern: text: lib.any (word: builtins.match "(.*[^A-Za-z0-9])?${pattern}.*" word != null)
    (lib.concatMap (lib.splitString " ") (lib.splitString "\n" text));
  isSecret = leaf:
    has "[0-9]{6,}:[A-Za-z0-9_-]{30,}" leaf.value || has "(sk|pk|rk|xox[a-z]|gh[a-z]|glpat)[-_][A-Za-z0-9_-]{20,}" leaf.value
    || has "(AIza|AKIA)[A-Za-z0-9_-]{16,}" leaf.value || has "-----BEGIN" leaf.value || has "[a-z][a-z0-9+.-]*://[^/@]*:[^/@]+@" leaf.value
    || (lib.elem leaf.name [ "token" "key" "spare_keys" ] && builtins.match "[A-Z][A-Z0-9_]*" leaf.value == null);
  secrets = lib.filter isSecret (leaves "" settings);

  inStore = path: path != null && lib.hasPrefix builtins.storeDir (toString path);
  stored = lib.filter inStore (lib.attrValues cfg.credentials ++ [ cfg.vpn.privateKeyFile (settings.keys.file or null) ]
    ++ map (key: key.path) ssh.hostKeys);
  inline = lib.attrNames (lib.filterAttrs (_: interface: interface.privateKey != null)
    (config.networking.wireguard.interfaces // config.networking.wg-quick.interfaces))
    ++ lib.attrNames (lib.filterAttrs (_: device: device.enable && device.wireguardConfig ? PrivateKey) config.systemd.network.netdevs);

  people = lib.filterAttrs (_: user: user.enable or true) users.users;
  passwords = user: lib.filter (name: user.${name} or null != null) [ "password" "initialPassword" "hashedPassword" "initialHashedPassword" "hashedPasswordFile" ];
  locked = hash: hash == null || lib.hasPrefix "!" hash || lib.hasPrefix "*" hash;
  canLogIn = user: passwords user != [ ] && ! (passwords user == [ "hashedPassword" ] && locked user.hashedPassword);
  who = test: lib.attrNames (lib.filterAttrs (_: test) people);
  powerful = [ "docker" "podman" "wheel" "incus-admin" "lxd" "libvirtd" "disk" "kvm" "shadow" "keys" ];
  inGroup = user: lib.any (group: lib.elem group users.users.${user}.extraGroups || lib.elem user (users.groups.${group}.members or [ ])) powerful;

  own = name: config.systemd.services.${name} or null;
  existing = lib.filter (name: own name != null) services;
  weakened = lib.filter (name: lib.any (key: lib.elem key (sources.hardening name)) (lib.attrNames (own name).serviceConfig)) existing;
  doors = lib.filter (name: (config.systemd.sockets.${lib.removeSuffix ".socket" name} or { }).socketConfig or { } != { })
    (lib.filter (lib.hasSuffix ".socket") (lib.attrNames sources.units));
  off = lib.filter (name: ! (own name).enable) existing;
  sysctls = lib.filter (name: toString (config.boot.kernel.sysctl.${name} or "") != toString sources.sysctl.${name}) (lib.attrNames sources.sysctl);
  allowed = name: lib.splitString "," sources.sshd.${name};
  weak = lib.subtractLists (allowed "KexAlgorithms") (ssh.settings.KexAlgorithms or [ ])
    ++ lib.subtractLists (allowed "Ciphers") (ssh.settings.Ciphers or [ ]) ++ lib.subtractLists (allowed "MACs") (ssh.settings.Macs or [ ]);
  lsm = lib.filter (lib.hasPrefix "lsm=") config.boot.kernelParams;
  kernel = config.boot.kernelPackages.kernel.version;
  unlimited = limit: settings.spend.${limit} == "none";
  daemonUsers = config.nix.settings.trusted-users or [ ] ++ config.nix.settings.allowed-users or [ ];

  refusals = {
    development = {
      when = settings.profile != "production";
      why = "settings.profile is ${toString settings.profile}, so what the kernel can't enforce is only said, not asked for.";
      mend = "leave it out; to try things, run `nix run` on a machine of your own";
    };
    no-spending-limit = {
      when = unlimited "day" && unlimited "month";
      why = "settings.spend has neither a limit for the day nor for the month: a hijacked model could spend all that your keys can.";
      mend = "set settings.spend.day or settings.spend.month to a number of dollars";
    };
    webhook-on-a-public-address = {
      when = settings.webhook.listen != null && builtins.match "unix:/.*|127[.][0-9.]+:[0-9]+|\\[::1]:[0-9]+" settings.webhook.listen == null;
      why = "the webhook listens on ${toString settings.webhook.listen}, which others than this machine can reach, without TLS.";
      mend = "let settings.webhook.listen be a unix socket or a loopback address; the tunnel, or openclaw-front, is in front of it";
    };
    tunnel-and-direct = {
      when = cfg.tunnel.enable && settings.webhook.from == "direct";
      why = "deliveries come through the tunnel and directly at once: the one would be believed what only the other can know, the sender's address.";
      mend = "set services.openclaw.tunnel.enable = false, or settings.webhook.from = \"tunnel\"";
    };
    direct-without-a-name = {
      when = settings.webhook.from == "direct" && builtins.match "https://([a-z0-9-]+[.])+[a-z][a-z0-9-]*/?" (toString settings.webhook.public_url) == null;
      why = "settings.webhook.from is \"direct\" and settings.webhook.public_url is no name that a certificate can be had for.";
      mend = "set settings.webhook.public_url to https:// and a name of yours that leads to this machine, without a port";
    };
    direct-without-front = {
      when = settings.webhook.from == "direct" && (settings.webhook.listen != "unix:${facts.unix.webhook_for_front}" || settings.webhook.peer != facts.users.front);
      why = "settings.webhook.from is \"direct\", and others than openclaw-front would say where a connection comes from.";
      mend = "leave settings.webhook.listen and settings.webhook.peer out";
    };
    key-in-settings = {
      when = secrets != [ ];
      why = "settings hold what looks like a key or a password, at ${named (lib.unique (map (leaf: leaf.name) secrets))}; they are in the Nix store, which every user of the machine can read.";
      mend = "write the key's NAME there, and the key into /etc/credstore.encrypted (systemd-creds encrypt) or services.openclaw.credentials; then exchange the key, for it was in the store";
    };
    key-in-the-store = {
      when = stored != [ ] || inline != [ ];
      why = "a secret is in the Nix store, which every user of the machine can read: ${named (map baseNameOf stored ++ inline)}.";
      mend = "name a file outside the store, as a string (\"/run/secrets/...\"), not a path of Nix (./file) and not its contents; then exchange the key";
    };

    firewall-off = {
      when = ! firewall.enable;
      why = "networking.firewall.enable is false.";
      mend = "leave it out: NixOS's firewall is the second wall behind openclaw-firewall.service, with the same openings";
    };
    firewall-replaced = {
      when = config.networking.nftables.enable;
      why = "networking.nftables.enable starts nftables.service, and that and openclaw-firewall.service exclude each other.";
      mend = "leave it out; rules of your own go into a service that adds a table beside `inet openclaw`";
    };
    interface-trusted = {
      when = lib.subtractLists [ "lo" facts.vpn.interface facts.vpn.tailscale ] firewall.trustedInterfaces != [ ];
      why = "networking.firewall.trustedInterfaces opens every port to whoever is on ${named firewall.trustedInterfaces}.";
      mend = "leave it out; what must be reached is reached over the VPN";
    };
    ssh-open-to-the-world = {
      when = ssh.openFirewall || lib.any worldwide ssh.ports;
      why = "SSH (port ${named (map toString ssh.ports)}) is open to others than the VPN.";
      mend = "leave services.openssh.openFirewall and the port in networking.firewall out: over ${facts.vpn.interface} it is open";
    };
    admin-open-to-the-world = {
      when = worldwide facts.admin.port;
      why = "the operator's page (port ${toString facts.admin.port}) is open to others than the VPN.";
      mend = "leave the port in networking.firewall out: over ${facts.vpn.interface} it is open";
    };
    ssh-elsewhere = {
      when = ssh.enable && ssh.ports != [ facts.ssh.port ];
      why = "SSH listens on ${named (map toString ssh.ports)}, and the firewall opens ${toString facts.ssh.port} to the VPN.";
      mend = "leave services.openssh.ports out; another port hides nothing behind a VPN";
    };

    ssh-passwords = {
      when = ssh.enable && (ssh.settings.PasswordAuthentication != false || ssh.settings.KbdInteractiveAuthentication != false);
      why = "SSH takes passwords, and passwords are guessed.";
      mend = "leave PasswordAuthentication and KbdInteractiveAuthentication out; put your key into services.openclaw.ssh.keys";
    };
    ssh-root-by-password = {
      when = ssh.enable && ! lib.elem ssh.settings.PermitRootLogin [ "prohibit-password" "without-password" "forced-commands-only" "no" ];
      why = "services.openssh.settings.PermitRootLogin is ${toString ssh.settings.PermitRootLogin}.";
      mend = "leave it out: root logs in by key, or set it to \"no\" and use an account of your own";
    };
    ssh-empty-passwords = {
      when = ssh.enable && ssh.settings.PermitEmptyPasswords or false != false;
      why = "SSH lets in whoever has an empty password.";
      mend = "leave services.openssh.settings.PermitEmptyPasswords out";
    };
    ssh-weak-algorithms = {
      when = ssh.enable && weak != [ ];
      why = "SSH would speak ${named weak}, which systemd/sshd_config.d does not list.";
      mend = "leave KexAlgorithms, Ciphers and Macs out; a client that knows none of ours is too old";
    };

    password-in-the-store = {
      when = who (user: user.password or null != null || user.initialPassword or null != null) != [ ];
      why = "a password stands in the Nix store, which every user of the machine can read: of ${named (who (user: user.password or null != null || user.initialPassword or null != null))}.";
      mend = "use hashedPasswordFile with a file outside the store, or no password at all: keys do";
    };
    empty-password = {
      when = who (user: user.hashedPassword or null == "" || user.initialHashedPassword or null == "") != [ ];
      why = "anybody logs in as ${named (who (user: user.hashedPassword or null == "" || user.initialHashedPassword or null == ""))}, without a password.";
      mend = "leave the password out, or use hashedPasswordFile";
    };
    mutable-users-with-passwords = {
      when = users.mutableUsers && who canLogIn != [ ];
      why = "users.mutableUsers is true, and ${named (who canLogIn)} may log in by a password that anybody with root can change and no update brings back.";
      mend = "set users.mutableUsers = false; then what is described here is what there is";
    };
    console-without-a-login = {
      when = config.services.getty.autologinUser != null;
      why = "whoever is at the console is ${toString config.services.getty.autologinUser}, without a login.";
      mend = "leave services.getty.autologinUser out";
    };

    service-as-root = {
      when = lib.any (name: users.users.${name}.uid == 0) ours || lib.any (name: (own name).serviceConfig.User or null == "root") existing;
      why = "one of our processes would run as root.";
      mend = "leave their users and User= as they are: the few small units that need root say why in their 50-needs.conf";
    };
    service-weakened = {
      when = weakened != [ ] || doors != [ ];
      why = "what ${named (weakened ++ doors)} says of rights is overridden in systemd.services or systemd.sockets.";
      mend = "leave serviceConfig and socketConfig of our units alone; what one of them needs stands, with its reason, in systemd/system/*/50-needs.conf";
    };
    service-off = {
      when = off != [ ];
      why = "${named off} is switched off, and others lean on it.";
      mend = "leave systemd.services.<name>.enable out; without a tunnel it is services.openclaw.tunnel.enable = false";
    };
    users-with-power = {
      when = lib.any inGroup ours;
      why = "${named (lib.filter inGroup ours)} is in a group that amounts to root (${named powerful}).";
      mend = "take it out; a process of ours that needs a file gets it by services.openclaw.credentials or a skill's manifest";
    };
    nix-for-everybody = {
      when = lib.any (user: user == "*" || lib.elem user ours || user == "@${facts.users.readers}") daemonUsers;
      why = "nix.settings.allowed-users or trusted-users lets our processes talk to the Nix daemon.";
      mend = "let them be [ \"root\" ], or name the people who build here";
    };
    docker-over-tcp = {
      when = config.virtualisation.docker.enable && lib.any (lib.hasPrefix "tcp:") (config.virtualisation.docker.daemon.settings.hosts or [ ]
        ++ map (address: "tcp:${address}") (lib.filter (address: ! lib.hasPrefix "/" address) config.virtualisation.docker.listenOptions));
      why = "Docker listens on TCP, and whoever reaches it is root of this machine.";
      mend = "leave it on its socket; better, keep Docker off this machine";
    };
    another-tunnel = {
      when = config.services.cloudflared.enable;
      why = "services.cloudflared would be a second way in, with rules of its own.";
      mend = "leave it out: the tunnel is services.openclaw.tunnel, with one rule, to the webhook";
    };

    resolver-missing = {
      when = ! config.services.resolved.enable;
      why = "services.resolved is off, and ${facts.dns.stub} is the only resolver that our processes may ask.";
      mend = "leave services.resolved.enable out";
    };
    kernel-weakened = {
      when = sysctls != [ ];
      why = "boot.kernel.sysctl has other values than systemd/sysctl.d for ${named sysctls}.";
      mend = "leave them out";
    };
    kernel-too-old = {
      when = lib.versionOlder kernel "6.12";
      why = "Linux ${kernel} has not all of Landlock that the profile production asks for (ABI 6, Linux 6.12).";
      mend = "leave boot.kernelPackages out, or take a newer one";
    };
    landlock-off = {
      when = lsm != [ ] && ! lib.any (lib.hasInfix "landlock") lsm;
      why = "boot.kernelParams has ${named lsm}, without Landlock: no process of ours would start.";
      mend = "add landlock to the list, or leave it out";
    };
    no-user-namespaces = {
      when = ! config.security.allowUserNamespaces;
      why = "security.allowUserNamespaces is false, and jails are made of them.";
      mend = "leave it out: sysctl bounds their number, and each of our units but the runner's forbids them";
    };
    no-updates = {
      when = ! config.system.autoUpgrade.enable && ! cfg.updates.byHand;
      why = "nobody brings security updates.";
      mend = "leave system.autoUpgrade.enable out, or say services.openclaw.updates.byHand = true if a deployment tool brings them";
    };
  };
  message = name: refusal: "OpenClaw refuses this configuration (${name}): ${refusal.why}\n  mend: ${refusal.mend}";
in
{
  options.services.openclaw.refusals = lib.mkOption {
    type = lib.types.listOf lib.types.str;
    default = lib.attrNames refusals;
    readOnly = true;
    internal = true;
    description = "What can be refused.";
  };

  config.assertions = lib.mkIf cfg.enable
    (lib.mapAttrsToList (name: refusal: { assertion = ! refusal.when; message = message name refusal; }) refusals);
}
