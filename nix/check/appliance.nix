# The appliance in a virtual machine, and its operator in another: units, confinement, firewall, VPN, SSH and the drill.
let
  inherit (import ../sources.nix) facts;
  operatorAddress = builtins.replaceStrings [ ".1" ] [ ".2" ] facts.vpn.address;
  key = "/run/wireguard/key";
in
{
  name = "openclaw-appliance";

  nodes.appliance = { lib, pkgs, ... }: {
    imports = [ ../module.nix ../appliance.nix ];
    services.openclaw.vpn.privateKeyFile = key;
    # Made here, and the operator's public key is told later: nothing that looks like a key is written anywhere.
    systemd.services.wireguard-key = {
      requiredBy = [ "systemd-networkd.service" ];
      before = [ "systemd-networkd.service" ];
      path = [ pkgs.wireguard-tools ];
      serviceConfig.Type = "oneshot";
      script = "mkdir -p $(dirname ${key}); (umask 077; wg genkey > ${key}); chown systemd-network $(dirname ${key}) ${key}";
    };
    # The test's own way in is the serial line; it would leave root without a password besides.
    users.users.root.initialHashedPassword = lib.mkForce null;
    services.openclaw.updates.byHand = true;
    environment.systemPackages = [ pkgs.curl ];
    virtualisation.memorySize = 3072;
  };

  nodes.operator = { pkgs, ... }: {
    environment.systemPackages = [ pkgs.wireguard-tools pkgs.nmap pkgs.netcat ];
    services.nginx = { enable = true; virtualHosts.default.default = true; };
    networking.firewall.enable = false;
  };

  testScript = { nodes, ... }: ''
    ssh, admin, vpn = ${toString facts.ssh.port}, ${toString facts.admin.port}, "${facts.vpn.address}"
    lan = "${nodes.appliance.networking.primaryIPAddress}"
    there = "${nodes.operator.networking.primaryIPAddress}"
    known = "-o StrictHostKeyChecking=no -o UserKnownHostsFile=/dev/null -o ConnectTimeout=10"

    start_all()
    appliance.wait_for_unit("openclaw.target")
    operator.wait_for_unit("nginx.service")

    with subtest("every unit is up, and nothing failed"):
        for unit in ["gateway", "egress", "runner", "firewall"]:
            appliance.wait_for_unit(f"openclaw-{unit}.service")
        appliance.succeed("test -z \"$(systemctl list-units --failed --plain --no-legend)\"")
        appliance.succeed("test $(nft list table inet openclaw | grep -c 'policy drop') = 3")

    with subtest("from outside the ports of the operator are closed, and with both walls gone they are open"):
        appliance.wait_for_unit("sshd.service")
        appliance.wait_for_open_port(ssh)
        operator.fail(f"nc -z -w 5 {lan} {ssh}")
        appliance.succeed("nft delete table inet openclaw", "systemctl stop firewall.service")
        operator.succeed(f"nc -z -w 5 {lan} {ssh}")
        appliance.succeed("systemctl start firewall.service", "systemctl reload openclaw-firewall.service")
        operator.fail(f"nc -z -w 5 {lan} {ssh}")
        said = operator.succeed(f"nmap -Pn -p- --open --max-retries 1 -T5 {lan}")
        assert "/tcp" not in said, said

    with subtest("over the VPN they are open, and over the LAN the VPN's address is not"):
        public = appliance.succeed("wg show ${facts.vpn.interface} public-key").strip()
        operator.succeed(
            "umask 077; wg genkey > /root/wg",
            "ip link add wg0 type wireguard && ip address add ${operatorAddress}/24 dev wg0",
            f"wg set wg0 private-key /root/wg peer {public} endpoint {lan}:${toString facts.vpn.port} allowed-ips ${facts.vpn.network}",
        )
        own = operator.succeed("wg pubkey < /root/wg").strip()
        appliance.succeed(f"wg set ${facts.vpn.interface} peer {own} allowed-ips ${operatorAddress}/32")
        operator.succeed("ip link set wg0 up")
        operator.succeed(f"nc -z -w 20 {vpn} {ssh}")
        operator.succeed("ip link set wg0 down", f"ip route add {vpn} via {lan}")
        operator.fail(f"nc -z -w 5 {vpn} {ssh}")
        operator.succeed(f"ip route del {vpn}", "ip link set wg0 up")

    with subtest("SSH takes a key and no password"):
        operator.succeed("ssh-keygen -q -t ed25519 -N ''' -f /root/.ssh/id_ed25519")
        public = operator.succeed("cat /root/.ssh/id_ed25519.pub").strip()
        appliance.succeed(f"umask 077; mkdir -p /root/.ssh; echo '{public}' > /root/.ssh/authorized_keys")
        operator.succeed(f"ssh {known} -o BatchMode=yes root@{vpn} openclaw status")
        said = operator.fail(f"ssh {known} -o PubkeyAuthentication=no root@{vpn} true 2>&1")
        assert "Permission denied (publickey)" in said, said

    with subtest("who may go out does, and who may not does not"):
        fetch = f"curl --silent --fail --max-time 5 http://{there}/ -o /dev/null"
        appliance.succeed(fetch)
        for user in ["${facts.users.gateway}", "${facts.users.runner}", "${facts.users.egress}"]:
            appliance.fail(f"runuser -u {user} -- {fetch}")

    with subtest("the jails hold, under the conditions of their unit"):
        appliance.succeed("systemctl start openclaw-drill.service")
        assert "OFF" not in appliance.succeed("openclaw status")
  '';
}
