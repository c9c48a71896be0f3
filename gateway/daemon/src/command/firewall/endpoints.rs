//! The servers that the operator declared, as far as the firewall must know them: those that are not a public address on
//! port 443.

use std::{collections::BTreeSet, net::IpAddr};

use openclaw_wire::config::Config;
use url::{Host, Url};

/// One that opens to egress.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Endpoint {
    /// Where it is.
    pub place: Place,
    /// Its TCP port.
    pub port: u16,
}

/// Where an endpoint is.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Place {
    /// This one address.
    Address(IpAddr),
    /// A name of the operator's own network: any address, because names change theirs. Egress judges the address.
    Anywhere,
    /// A name, at public addresses only.
    Public,
}

/// All that the configuration declares.
pub fn of(config: &Config) -> BTreeSet<Endpoint> {
    let mut all = BTreeSet::new();
    let mut add = |url: &Url, private: bool| all.extend(endpoint(url, private));
    let telegram = &config.telegram;
    add(&telegram.api, telegram.private);
    for (url, private) in config.model.iter().filter_map(|model| Some((model.url.as_ref()?, model.private))) {
        add(url, private);
    }
    // A proxy may be anywhere: on this machine, at home, or at somebody's.
    let proxies = config.model.iter().filter_map(|model| model.via.as_ref()).chain(&telegram.via);
    proxies.for_each(|via| add(via, true));
    if config.has_front() {
        add(&config.direct.directory, config.direct.private);
    }
    config.skills.private.values().for_each(|endpoint| add(&endpoint.url, true));
    all
}

fn endpoint(url: &Url, private: bool) -> Option<Endpoint> {
    let port = url.port_or_known_default().or_else(|| url.scheme().starts_with("socks5").then_some(1080))?;
    let place = match (url.host()?, private) {
        (Host::Ipv4(address), _) => Place::Address(address.into()),
        (Host::Ipv6(address), _) => Place::Address(address.into()),
        (Host::Domain(name), true) => name.parse().map_or(Place::Anywhere, Place::Address),
        (Host::Domain(_), false) => Place::Public,
    };
    (place != Place::Public || port != 443).then_some(Endpoint { place, port })
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use openclaw_wire::config::Config;

    use super::{Endpoint, Place, of};

    #[test]
    fn only_what_is_declared_opens() {
        let parse = |text: &str| of(&Config::parse(text, Path::new("t")).expect("config"));
        assert!(parse("").is_empty(), "public servers on 443 need no rule of their own");
        let found = parse(
            "[telegram]\nvia = \"socks5://127.0.0.1:9050\"\n\
             [[model]]\nname = \"a\"\napi = \"openai\"\nmodel = \"m\"\nurl = \"http://192.168.1.5:11434/v1\"\nprivate = true\n\
             [[model]]\nname = \"b\"\napi = \"openai\"\nmodel = \"m\"\nurl = \"https://models.example.com:8443/v1\"\n\
             [skills.private.nas]\nurl = \"https://nas.lan:8444\"\n",
        );
        let address =
            |text: &str, port| Endpoint { place: Place::Address(text.parse().expect("address")), port };
        let expected = [
            address("127.0.0.1", 9050),
            address("192.168.1.5", 11434),
            Endpoint { place: Place::Anywhere, port: 8444 },
            Endpoint { place: Place::Public, port: 8443 },
        ];
        assert_eq!(found.into_iter().collect::<Vec<_>>(), expected);
    }
}
