//! The kernel's nftables rules, as far as the checks ask about them, out of `nft --json list ruleset`
//! (libnftables-json(5)).

use std::collections::BTreeMap;

use serde_json::Value;

/// All rules.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ruleset {
    /// Chains, of every table.
    pub chains: Vec<Chain>,
    /// Elements of named sets, by table and name: `149.154.160.0/20`.
    pub sets: BTreeMap<(String, String), Vec<String>>,
}

/// One chain.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Chain {
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// `input` and the like, for a chain that packets reach by themselves.
    pub hook: Option<String>,
    /// Whatever no rule decides is dropped.
    pub drops: bool,
    /// Its rules, in order.
    pub rules: Vec<Rule>,
}

/// One rule.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Rule {
    /// It lets in what it matches.
    pub accepts: bool,
    /// It hands on to another chain.
    pub to: Option<String>,
    /// TCP or UDP ports that it asks for; empty for all.
    pub ports: Vec<(u16, u16)>,
    /// `tcp` or `udp`, when it asks for ports.
    pub protocol: String,
    /// It asks for a set of ports by name.
    pub port_set: bool,
    /// The interface that it asks for.
    pub interface: Option<String>,
    /// The named set of senders that it asks for.
    pub senders: Option<String>,
    /// Connections that stand, alone.
    pub established: bool,
    /// It asks whose packet it is.
    pub by_user: bool,
    /// It asks for anything else, so that it matches less than the rest of it says.
    pub more: bool,
}

impl Ruleset {
    /// Out of what `nft` prints.
    pub fn parse(text: &str) -> Option<Self> {
        let value: Value = serde_json::from_str(text).ok()?;
        let mut all = Self::default();
        for item in value["nftables"].as_array()? {
            if let Some(chain) = item.get("chain") {
                all.chains.push(Chain {
                    table: word(&chain["table"]),
                    name: word(&chain["name"]),
                    hook: chain["hook"].as_str().map(str::to_owned),
                    drops: chain["policy"] == "drop",
                    rules: Vec::new(),
                });
            } else if let Some(set) = item.get("set") {
                let elements = set["elem"].as_array().into_iter().flatten().map(element).collect();
                all.sets.insert((word(&set["table"]), word(&set["name"])), elements);
            } else if let Some(rule) = item.get("rule") {
                let (table, name) = (word(&rule["table"]), word(&rule["chain"]));
                if let Some(chain) =
                    all.chains.iter_mut().find(|chain| chain.table == table && chain.name == name)
                {
                    chain.rules.push(parse(rule["expr"].as_array()?));
                }
            }
        }
        Some(all)
    }

    /// Chains that see what comes in, goes out or passes through.
    pub fn hooked<'a>(&'a self, hook: &'a str) -> impl Iterator<Item = &'a Chain> {
        self.chains.iter().filter(move |chain| chain.hook.as_deref() == Some(hook))
    }

    /// A chain by table and name.
    pub fn chain(&self, table: &str, name: &str) -> Option<&Chain> {
        self.chains.iter().find(|chain| chain.table == table && chain.name == name)
    }
}

impl Rule {
    /// It lets strangers reach this TCP port, from any interface.
    pub fn opens(&self, port: u16) -> bool {
        self.accepts
            && !self.established
            && self.interface.is_none()
            && self.protocol != "udp"
            && (self.ports.is_empty() && !self.port_set && !self.more
                || self.ports.iter().any(|(low, high)| (*low..=*high).contains(&port)))
    }
}

fn word(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// An address, a network, or anything else as it is written.
fn element(value: &Value) -> String {
    let value = value.get("elem").map_or(value, |inner| &inner["val"]);
    match value.get("prefix") {
        Some(prefix) => format!("{}/{}", word(&prefix["addr"]), prefix["len"]),
        None => value.as_str().map_or_else(|| value.to_string(), str::to_owned),
    }
}

fn parse(expressions: &[Value]) -> Rule {
    let mut rule = Rule::default();
    for expression in expressions {
        let Some((kind, inner)) = expression.as_object().and_then(|object| object.iter().next()) else {
            continue;
        };
        match kind.as_str() {
            "accept" => rule.accepts = true,
            "goto" | "jump" => rule.to = inner["target"].as_str().map(str::to_owned),
            "match" => matched(&mut rule, inner),
            _ => {}
        }
    }
    rule
}

fn matched(rule: &mut Rule, inner: &Value) {
    let (left, right) = (&inner["left"], &inner["right"]);
    let field = left["payload"]["field"].as_str().unwrap_or_default();
    let meta = left["meta"]["key"].as_str().unwrap_or_default();
    match (field, meta, left["ct"]["key"].as_str()) {
        ("dport", ..) => {
            rule.protocol = word(&left["payload"]["protocol"]);
            match right.as_str().is_some_and(|name| name.starts_with('@')) {
                true => rule.port_set = true,
                false => rule.ports = ports(right),
            }
        }
        ("saddr", ..) if right.as_str().is_some_and(|name| name.starts_with('@')) => {
            rule.senders = right.as_str().map(|name| name.trim_start_matches('@').to_owned());
        }
        (_, "iifname" | "iif", _) => rule.interface = Some(word(right)),
        (_, "skuid", _) => rule.by_user = true,
        (_, _, Some("state")) => rule.established = true,
        _ => rule.more = true,
    }
}

fn ports(right: &Value) -> Vec<(u16, u16)> {
    let number = |value: &Value| value.as_u64().and_then(|number| u16::try_from(number).ok());
    if let Some(one) = number(right) {
        return vec![(one, one)];
    }
    if let Some(range) = right["range"].as_array() {
        return number(&range[0]).zip(range.get(1).and_then(number)).into_iter().collect();
    }
    right["set"].as_array().into_iter().flatten().flat_map(ports).collect()
}

#[cfg(test)]
pub(crate) mod tests {
    use super::Ruleset;

    /// As nft 1.1 prints a part of our rules.
    pub const OURS: &str = r#"{"nftables": [{"metainfo": {"version": "1.1.3"}},
        {"table": {"family": "inet", "name": "openclaw", "handle": 1}},
        {"set": {"family": "inet", "name": "telegram", "table": "openclaw", "type": "ipv4_addr", "flags": ["interval"],
            "elem": [{"prefix": {"addr": "91.108.4.0", "len": 22}}, {"prefix": {"addr": "149.154.160.0", "len": 20}}]}},
        {"chain": {"family": "inet", "table": "openclaw", "name": "input", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "openclaw", "name": "forward", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "openclaw", "name": "output", "hook": "output", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "openclaw", "name": "nothing"}},
        {"rule": {"table": "openclaw", "chain": "input", "expr": [
            {"match": {"op": "in", "left": {"ct": {"key": "state"}}, "right": ["established", "related"]}}, {"accept": null}]}},
        {"rule": {"table": "openclaw", "chain": "input", "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "iif"}}, "right": "lo"}}, {"accept": null}]}},
        {"rule": {"table": "openclaw", "chain": "input", "expr": [
            {"match": {"op": "==", "left": {"payload": {"protocol": "udp", "field": "dport"}}, "right": 51820}}, {"accept": null}]}},
        {"rule": {"table": "openclaw", "chain": "input", "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "iifname"}}, "right": "wg-openclaw"}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "ip", "field": "daddr"}}, "right": "10.77.0.1"}},
            {"match": {"op": "==", "left": {"payload": {"protocol": "tcp", "field": "dport"}}, "right": {"set": [22, 8788]}}},
            {"accept": null}]}},
        {"rule": {"table": "openclaw", "chain": "input", "expr": [{"counter": {"packets": 0, "bytes": 0}}]}},
        {"rule": {"table": "openclaw", "chain": "output", "expr": [
            {"match": {"op": "==", "left": {"meta": {"key": "skuid"}}, "right": {"set": [990, 991]}}}, {"goto": {"target": "nothing"}}]}}
    ]}"#;

    /// A rule that lets everybody reach a port.
    pub fn open(port: u16) -> String {
        format!(
            r#"{{"rule": {{"table": "openclaw", "chain": "input", "expr": [
            {{"match": {{"op": "==", "left": {{"payload": {{"protocol": "tcp", "field": "dport"}}}}, "right": {port}}}}}, {{"accept": null}}]}}}}"#
        )
    }

    /// Our rules with one more.
    pub fn with(rule: &str) -> Ruleset {
        let at = OURS.rfind("\n    ]}").expect("the end");
        Ruleset::parse(&format!("{},\n{rule}{}", &OURS[..at], &OURS[at..])).expect("rules")
    }

    #[test]
    fn rules_are_read_as_nft_prints_them() {
        let all = Ruleset::parse(OURS).expect("rules");
        let input = all.chain("openclaw", "input").expect("the chain");
        assert!(input.drops && input.rules.len() == 5);
        assert_eq!(input.rules[3].interface.as_deref(), Some("wg-openclaw"));
        assert_eq!(input.rules[3].ports, [(22, 22), (8788, 8788)]);
        assert_eq!(all.sets[&("openclaw".into(), "telegram".into())], ["91.108.4.0/22", "149.154.160.0/20"]);
        assert!(input.rules.iter().all(|rule| !rule.opens(22) && !rule.opens(443)), "{input:#?}");
        let all = with(&open(22));
        assert!(all.chain("openclaw", "input").expect("the chain").rules.iter().any(|rule| rule.opens(22)));
        assert!(Ruleset::parse("{}").is_none() && Ruleset::parse("").is_none());
    }
}
