//! The rules as text. A pure function: the same facts, configuration and users give the same bytes.
//!
//! One table of our own is replaced as a whole, in one transaction; other tables of the machine are left alone.

use std::{
    collections::BTreeSet,
    fmt::{Display, Write as _},
    net::IpAddr,
};

use ipnet::IpNet;
use openclaw_wire::facts::Facts;

use super::endpoints::{Endpoint, Place};
use crate::command::fault::Fault;

/// What the rules depend on besides the facts.
pub struct Machine<'a> {
    /// A user's number; `None` for one that this machine has not.
    pub user: &'a dyn Fn(&str) -> Option<u32>,
    /// What the operator declared.
    pub endpoints: BTreeSet<Endpoint>,
    /// There is no tunnel: Telegram comes to this machine's own address.
    pub direct: bool,
}

/// The whole file for `nft`.
pub fn of(facts: &Facts, machine: &Machine<'_>) -> Result<String, Fault> {
    let own = |name: &str| {
        (machine.user)(name).ok_or_else(|| {
            Fault::new(
                format!("make firewall rules for the user {name}: this machine has no such user"),
                "systemd-sysusers",
            )
        })
    };
    let users = &facts.users;
    let (gateway, egress) = (own(&users.gateway)?, own(&users.egress)?);
    let (runner, tunnel, front) = (own(&users.runner)?, own(&users.tunnel)?, own(&users.front)?);
    let mut text = String::new();
    text.push_str(
        "# Made by `openclaw firewall print`. The first line is for a kernel that has no such table yet.\n",
    );
    text.push_str("table inet openclaw\ndelete table inet openclaw\ntable inet openclaw {\n");
    sets(&mut text, facts);
    input(&mut text, facts, machine);
    text.push_str(
        "\n  chain forward {\n    # Nobody's router.\n    type filter hook forward priority filter; policy drop;\n  }\n",
    );
    output(&mut text, facts, machine, [gateway, egress, runner, tunnel, front]);
    text.push_str("\n  # No key, no network: whatever these users send is refused.\n");
    text.push_str("  chain nothing {\n    counter reject with icmpx admin-prohibited\n  }\n");
    egress_chain(&mut text, facts, machine);
    tunnel_chain(&mut text, facts);
    text.push_str("}\n");
    Ok(text)
}

fn sets(text: &mut String, facts: &Facts) {
    let telegram = |six: bool| facts.telegram.ranges.iter().filter(move |range| is_six(range) == six);
    set(text, "telegram", "ipv4_addr", telegram(false));
    set(text, "telegram6", "ipv6_addr", telegram(true));
    set(text, "not_public", "ipv4_addr", &facts.firewall.not_public);
    set(text, "not_public6", "ipv6_addr", &facts.firewall.not_public6);
    text.push_str("  # Ports that are open for a while, such as for an ACME challenge; elements expire by themselves.\n");
    text.push_str("  set challenge {\n    type inet_service\n    flags timeout\n    size 4\n  }\n");
}

fn set<'a>(text: &mut String, name: &str, kind: &str, ranges: impl IntoIterator<Item = &'a IpNet>) {
    let _ = writeln!(text, "  set {name} {{\n    type {kind}\n    flags interval");
    let elements = list(ranges);
    if !elements.is_empty() {
        let _ = writeln!(text, "    elements = {{ {elements} }}");
    }
    text.push_str("  }\n");
}

fn input(text: &mut String, facts: &Facts, machine: &Machine<'_>) {
    let (vpn, ports) = (&facts.vpn, list([facts.ssh.port, facts.admin.port]));
    text.push_str(
        "
  chain input {
    type filter hook input priority filter; policy drop;
    ct state established,related accept
    ct state invalid drop
    iif \"lo\" accept
    # Linux takes a packet for any of its addresses on any interface; here an address belongs to its own.
    fib daddr . iif type != { local, broadcast, multicast } counter drop
",
    );
    let _ = writeln!(text, "    udp dport {} accept", vpn.port);
    let _ = writeln!(
        text,
        "    iifname \"{}\" {} daddr {} tcp dport {{ {ports} }} accept",
        vpn.interface,
        family(vpn.address),
        vpn.address
    );
    let _ = writeln!(
        text,
        "    iifname \"{}\" ip daddr {} tcp dport {{ {ports} }} accept",
        vpn.tailscale, vpn.tailscale_network
    );
    text.push_str(
        "    # What makes a network work: leases, neighbours, routers of this link.
    udp sport 67 udp dport 68 accept
    ip6 saddr fe80::/10 udp sport 547 udp dport 546 accept
    ip6 hoplimit 255 icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-advert } accept
",
    );
    if machine.direct {
        let port = facts.direct.port;
        let _ = writeln!(text, "    # Without a tunnel: Telegram, and nobody else.");
        let _ = writeln!(text, "    ip saddr @telegram tcp dport {port} accept");
        let _ = writeln!(text, "    ip6 saddr @telegram6 tcp dport {port} accept");
        let _ = writeln!(text, "    tcp dport @challenge accept");
    }
    text.push_str("    counter\n  }\n");
}

fn output(text: &mut String, facts: &Facts, machine: &Machine<'_>, users: [u32; 5]) {
    let [gateway, egress, runner, tunnel, front] = users;
    text.push_str(
        "
  chain output {
    type filter hook output priority filter; policy drop;
    # Answers first: who was let in is answered, whoever answers.
    ct state established,related accept
",
    );
    let _ = writeln!(text, "    meta skuid {{ {gateway}, {runner}, {front} }} goto nothing");
    let _ = writeln!(text, "    meta skuid {egress} goto egress");
    let _ = writeln!(text, "    meta skuid {tunnel} goto tunnel");
    text.push_str("    # From here on it is nobody of ours.\n    oif \"lo\" accept\n");
    let _ =
        writeln!(text, "    udp sport {} accept comment \"WireGuard, which is the kernel\"", facts.vpn.port);
    for (name, ports) in &facts.firewall.system {
        // One that this machine has not can't send anything either.
        let Some(uid) = (machine.user)(name) else { continue };
        for (protocol, ports) in [("tcp", &ports.tcp), ("udp", &ports.udp)] {
            if !ports.is_empty() {
                let _ = writeln!(
                    text,
                    "    meta skuid {uid} {protocol} dport {{ {} }} accept comment \"{name}\"",
                    list(ports)
                );
            }
        }
    }
    text.push_str(
        "    icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert, nd-router-solicit, mld2-listener-report } accept
    icmp type { echo-request, destination-unreachable, time-exceeded } accept
    icmpv6 type { echo-request, destination-unreachable, packet-too-big, time-exceeded } accept
    counter reject with icmpx admin-prohibited
  }
",
    );
}

fn egress_chain(text: &mut String, facts: &Facts, machine: &Machine<'_>) {
    text.push_str("\n  # Names, public servers by TLS, and what the operator declared.\n  chain egress {\n");
    dns(text, facts);
    let mut public: BTreeSet<u16> = [443].into();
    for endpoint in &machine.endpoints {
        let port = endpoint.port;
        match endpoint.place {
            Place::Public => {
                public.insert(port);
            }
            Place::Anywhere => {
                let _ = writeln!(text, "    tcp dport {port} accept comment \"declared by name\"");
            }
            Place::Address(address) => {
                let family = family(address);
                let _ = writeln!(
                    text,
                    "    {family} daddr {address} tcp dport {port} accept comment \"declared\""
                );
            }
        }
    }
    to_public(text, facts, &public.into_iter().collect::<Vec<_>>());
    text.push_str("    counter reject with icmpx admin-prohibited\n  }\n");
}

fn tunnel_chain(text: &mut String, facts: &Facts) {
    text.push_str("\n  # Names and Cloudflare's edge. No other port of this machine or of its network.\n  chain tunnel {\n");
    dns(text, facts);
    to_public(text, facts, &facts.tunnel.edge_ports);
    text.push_str("    counter reject with icmpx admin-prohibited\n  }\n");
}

/// The resolver of this machine, nobody else's.
fn dns(text: &mut String, facts: &Facts) {
    let stub = facts.dns.stub;
    let _ =
        writeln!(text, "    {} daddr {stub} meta l4proto {{ tcp, udp }} th dport 53 accept", family(stub));
}

fn to_public(text: &mut String, facts: &Facts, ports: &[u16]) {
    let ports = list(ports);
    let _ = writeln!(text, "    ip daddr != @not_public tcp dport {{ {ports} }} accept");
    let _ = writeln!(
        text,
        "    ip6 daddr {} ip6 daddr != @not_public6 tcp dport {{ {ports} }} accept",
        facts.firewall.public6
    );
}

fn family(address: IpAddr) -> &'static str {
    match address {
        IpAddr::V4(_) => "ip",
        IpAddr::V6(_) => "ip6",
    }
}

fn is_six(range: &IpNet) -> bool {
    matches!(range, IpNet::V6(_))
}

fn list(items: impl IntoIterator<Item = impl Display>) -> String {
    items.into_iter().map(|item| item.to_string()).collect::<Vec<_>>().join(", ")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use openclaw_wire::facts::FACTS;

    use super::{Machine, of};

    fn machine(direct: bool) -> Machine<'static> {
        let user: &'static dyn Fn(&str) -> Option<u32> = &|name| match name {
            "_apt" => None,
            "root" => Some(0),
            name => Some(900 + u32::try_from(name.len()).ok()?),
        };
        Machine { user, endpoints: BTreeSet::new(), direct }
    }

    #[test]
    fn every_chain_is_closed_by_default_and_a_missing_user_gets_no_rule() {
        let text = of(&FACTS, &machine(false)).expect("rules");
        for hook in ["input", "forward", "output"] {
            assert!(text.contains(&format!("hook {hook} priority filter; policy drop;")), "{text}");
        }
        assert!(!text.contains("_apt") && text.contains("comment \"root\""), "{text}");
        assert!(!text.contains("@telegram tcp"), "with a tunnel Telegram has nothing to call here");
    }

    #[test]
    fn direct_mode_opens_to_telegram_alone() {
        let text = of(&FACTS, &machine(true)).expect("rules");
        assert!(text.contains("ip saddr @telegram tcp dport 443 accept"), "{text}");
        let open = text.lines().filter(|line| line.contains("dport 443 accept") && !line.contains("saddr"));
        assert_eq!(open.count(), 0, "{text}");
    }

    #[test]
    fn without_our_users_there_are_no_rules_to_believe_in() {
        let nobody = Machine { user: &|_| None, endpoints: BTreeSet::new(), direct: false };
        let error = of(&FACTS, &nobody).expect_err("no users").to_string();
        assert!(error.contains("openclaw-gateway") && error.contains("systemd-sysusers"), "{error}");
    }
}
