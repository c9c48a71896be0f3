# For each refusal the line, or lines one by one, that bring it about (`bad`), in a configuration that is good without them.
{ lib, sources }:
let
  inherit (sources) facts;
  on = settings: { services.openclaw.settings = settings; };
  direct = { from = "direct"; public_url = lib.mkDefault "https://bot.example.com"; };
  key = "123456:not-a-real-token-not-a-real-token-x";
in
{
  development.bad = on { profile = "development"; };
  no-spending-limit = { good = on { spend.month = "none"; }; bad = on { spend.day = lib.mkForce "none"; }; };
  webhook-on-a-public-address = {
    good = on { webhook = { listen = facts.webhook.listen; peer = null; }; };
    bad = on { webhook.listen = lib.mkForce (lib.replaceStrings [ "127.0.0.1" ] [ "0.0.0.0" ] facts.webhook.listen); };
  };
  tunnel-and-direct = {
    good.services.openclaw = { tunnel.enable = lib.mkDefault false; settings.webhook = direct; };
    bad.services.openclaw.tunnel.enable = true;
  };
  direct-without-a-name = {
    good.services.openclaw = { tunnel.enable = false; settings.webhook = direct; };
    bad = map (url: on { webhook.public_url = lib.mkForce url; }) [ null "https://192.0.2.1" "https://bot.example.com:8443" "http://bot.example.com" ];
  };
  direct-without-front = {
    good.services.openclaw = { tunnel.enable = false; settings.webhook = direct; };
    bad = [ (on { webhook.peer = lib.mkForce facts.users.tunnel; }) (on { webhook.listen = lib.mkForce facts.webhook.listen; }) ];
  };
  key-in-settings = {
    # Names of keys, and what merely looks a little like one.
    good = on {
      model = [{ name = "m"; api = "openai"; model = "m"; key = "OPENAI_API_KEY"; url = lib.mkDefault "https://models.example.com/v1"; }];
      skills.folders = [ "/srv/skills-of-the-whole-family-and-more" ];
      session.instructions = lib.mkForce (lib.concatStrings (lib.genList (number: "Line ${toString number}: be brief, and ask.\n") 500));
    };
    bad = [
      (on { telegram.bot = lib.mkForce [{ name = "main"; token = key; updates = "webhook"; }]; })
      (on { telegram.via = "socks5://someone:not-a-real-password@proxy.example.com:1080"; })
      (on { model = [{ name = "n"; api = "openai"; model = "m"; key = "sk-not-a-real-key"; }]; })
    ];
  };
  key-in-the-store.bad = [
    { services.openclaw.credentials."openclaw.keys.env" = lib.mkForce "${./refused.nix}"; }
    { services.openclaw.vpn.privateKeyFile = lib.mkForce "${./refused.nix}"; }
    { networking.wireguard.interfaces.wg9 = { ips = [ ]; privateKey = "not-a-real-key"; }; }
  ];

  firewall-off.bad.networking.firewall.enable = false;
  firewall-replaced.bad.networking.nftables.enable = true;
  interface-trusted = {
    good.networking.firewall.trustedInterfaces = [ facts.vpn.interface ];
    bad.networking.firewall.trustedInterfaces = [ "eth0" ];
  };
  ssh-open-to-the-world = {
    good.networking.firewall.interfaces.${facts.vpn.interface}.allowedTCPPorts = [ facts.ssh.port ];
    bad = [ { networking.firewall.allowedTCPPorts = [ facts.ssh.port ]; } { services.openssh.openFirewall = true; } ];
  };
  admin-open-to-the-world.bad.networking.firewall.interfaces.eth0.allowedTCPPortRanges = [{ from = facts.admin.port - 1; to = facts.admin.port + 1; }];
  ssh-elsewhere.bad.services.openssh.ports = [ 2222 ];

  ssh-passwords.bad = [
    { services.openssh.settings.PasswordAuthentication = true; }
    { services.openssh.settings.KbdInteractiveAuthentication = true; }
  ];
  ssh-root-by-password = {
    good.services.openssh.settings.PermitRootLogin = lib.mkOverride 900 "no";
    bad.services.openssh.settings.PermitRootLogin = "yes";
  };
  ssh-empty-passwords.bad.services.openssh.settings.PermitEmptyPasswords = true;
  ssh-weak-algorithms.bad.services.openssh.settings.Ciphers = [ "aes128-cbc" ];

  password-in-the-store = {
    good.users.users.someone = { isNormalUser = true; hashedPasswordFile = lib.mkDefault "/run/secrets/someone"; };
    bad.users.users.someone = { hashedPasswordFile = null; password = "not-a-real-password"; };
  };
  empty-password = {
    good.users.users.someone.isNormalUser = true;
    bad.users.users.someone.hashedPassword = "";
  };
  mutable-users-with-passwords = {
    good.users.users.someone = { isNormalUser = true; hashedPasswordFile = "/run/secrets/someone"; };
    bad.users.mutableUsers = lib.mkForce true;
  };
  console-without-a-login.bad.services.getty.autologinUser = "root";

  service-as-root = {
    # NixOS itself would say that root has this number.
    good.users.enforceIdUniqueness = false;
    bad.users.users.${facts.users.gateway}.uid = 0;
  };
  service-weakened = {
    good.systemd.services.openclaw-egress.after = [ "network-online.target" ];
    bad = [
      { systemd.services.openclaw-egress.serviceConfig.ProtectSystem = "no"; }
      { systemd.services.openclaw-gateway.serviceConfig.PrivateNetwork = false; }
      { systemd.sockets.openclaw-egress-operator.socketConfig.SocketMode = "0666"; }
    ];
  };
  service-off.bad.systemd.services.openclaw-firewall.enable = false;
  users-with-power.bad = [
    { users.groups.docker.members = [ facts.users.runner ]; }
    { users.users.${facts.users.egress}.extraGroups = [ "wheel" ]; }
  ];
  nix-for-everybody.bad.nix.settings.allowed-users = [ "*" ];
  docker-over-tcp = {
    good.virtualisation.docker.enable = true;
    bad.virtualisation.docker.listenOptions = [ "0.0.0.0:2375" ];
  };
  another-tunnel.bad.services.cloudflared.enable = true;

  resolver-missing.bad.services.resolved.enable = false;
  kernel-weakened.bad.boot.kernel.sysctl."kernel.yama.ptrace_scope" = lib.mkForce 0;
  kernel-too-old = {
    good = { pkgs, ... }: { boot.kernelPackages = lib.mkDefault pkgs.linuxPackages_latest; };
    bad = { pkgs, ... }: { boot.kernelPackages = pkgs.linuxPackages_6_6; };
  };
  landlock-off = {
    good.boot.kernelParams = [ "quiet" ];
    bad.boot.kernelParams = [ "lsm=yama,bpf" ];
  };
  no-user-namespaces = {
    # NixOS sets the first of them to none, and its builds need them as well.
    good = {
      boot.kernel.sysctl."user.max_user_namespaces" = lib.mkForce sources.sysctl."user.max_user_namespaces";
      nix.settings.sandbox = false;
    };
    bad.security.allowUserNamespaces = false;
  };
  no-updates.bad.system.autoUpgrade.enable = false;
}
