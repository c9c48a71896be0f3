//! A host in a manifest: which name, port, methods and paths, and which key egress adds there. Names only, exact or
//! `*.example.com`; never an address, never a pattern over other people's names.

mod name;
mod route;

use serde::{Deserialize, Deserializer, Serialize};

pub use self::{
    name::HostName,
    route::{Method, PathPrefix},
};

/// One entry of `hosts`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(into = "Keys")]
pub struct HostGrant {
    /// Where to.
    pub reach: Reach,
    /// TCP port. TLS is spoken on each, but to a `.internal` host, where the operator says what is spoken.
    pub port: u16,
    /// Methods that may be used.
    pub methods: Vec<Method>,
    /// Paths that may be asked for.
    pub paths: Vec<PathPrefix>,
    /// The key that egress adds, and where. The skill never sees it.
    pub secret: Option<(KeyName, Placement)>,
    /// Bytes pass unread: only the name is checked. For software that pins certificates.
    pub tunnel: bool,
}

impl<'de> Deserialize<'de> for HostGrant {
    fn deserialize<D: Deserializer<'de>>(from: D) -> Result<Self, D::Error> {
        super::inside::table::<Keys, _, _>(from)
    }
}

/// Which host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Reach {
    /// This one, or those below it.
    Host(HostName),
    /// The host of the URL in this argument of the call, for the tools that have one. Any public host, but in each call
    /// that one alone.
    Argument(String),
}

/// What stands in the manifest.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[cfg_attr(test, schemars(rename = "HostGrant"))]
#[serde(deny_unknown_fields)]
pub(super) struct Keys {
    /// `api.example.com`; `*.example.com` for all names below it; `NAME.internal` for a private endpoint that the
    /// operator declared under that name. Either this or `argument`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    host: Option<HostName>,
    /// Name of the argument that holds a URL: in each call its host may be reached, and no other.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    argument: Option<String>,
    /// TCP port.
    #[serde(default = "https")]
    #[cfg_attr(test, schemars(range(min = 1)))]
    port: u16,
    /// Methods that may be used.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    methods: Option<Vec<Method>>,
    /// Beginnings of paths that may be asked for, whole segments each: `/data` allows `/data` and `/data/x`, not `/database`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    paths: Option<Vec<PathPrefix>>,
    /// NAME of the key that egress adds to each request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret: Option<KeyName>,
    /// Where the key goes: `bearer`, `header NAME` or `query NAME`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    secret_as: Option<Placement>,
    /// Bytes pass unread: only the name is checked.
    #[serde(default)]
    tunnel: bool,
}

fn https() -> u16 {
    443
}

impl TryFrom<Keys> for HostGrant {
    type Error = String;
    fn try_from(keys: Keys) -> Result<Self, String> {
        let reach = match (keys.host, keys.argument) {
            (Some(host), None) => Reach::Host(host),
            (None, Some(argument)) if !argument.is_empty() => Reach::Argument(argument),
            _ => return Err("hosts: each entry has either `host` or `argument`".into()),
        };
        let what = match &reach {
            Reach::Host(host) => format!("host {:?}", host.as_str()),
            Reach::Argument(argument) => format!("the host in argument {argument:?}"),
        };
        let one = matches!(&reach, Reach::Host(host) if !host.is_wildcard());
        if keys.port == 0 {
            return Err(format!("{what}: port must be 1 to 65535"));
        }
        if keys.secret.is_some() && !one {
            return Err(format!(
                "{what}: a secret goes to one host by its full name, never to whoever it is"
            ));
        }
        if keys.secret_as.is_some() && keys.secret.is_none() {
            return Err(format!("{what}: secret_as says where the key goes, but there is no `secret`"));
        }
        if keys.tunnel && !one {
            return Err(format!("{what}: a tunnel goes to one host by its full name"));
        }
        let checked = keys.methods.is_some() || keys.paths.is_some() || keys.secret.is_some();
        if keys.tunnel && checked {
            return Err(format!(
                "{what}: nobody sees methods, paths or keys through a tunnel; leave them or `tunnel` out"
            ));
        }
        let empty = |list: bool, name: &str| match list {
            true => {
                Err(format!("{what}: {name} is empty, so nothing could be asked for; leave the entry out"))
            }
            false => Ok(()),
        };
        empty(keys.methods.as_ref().is_some_and(Vec::is_empty), "methods")?;
        empty(keys.paths.as_ref().is_some_and(Vec::is_empty), "paths")?;
        Ok(Self {
            reach,
            port: keys.port,
            methods: keys.methods.unwrap_or_else(|| vec![Method::Get]),
            paths: keys.paths.unwrap_or_else(|| vec![PathPrefix::all()]),
            secret: keys.secret.map(|name| (name, keys.secret_as.unwrap_or(Placement::Bearer))),
            tunnel: keys.tunnel,
        })
    }
}

impl From<HostGrant> for Keys {
    fn from(grant: HostGrant) -> Self {
        let (host, argument) = match grant.reach {
            Reach::Host(host) => (Some(host), None),
            Reach::Argument(argument) => (None, Some(argument)),
        };
        let (secret, secret_as) = grant.secret.unzip();
        let seen = !grant.tunnel;
        Self {
            host,
            argument,
            port: grant.port,
            methods: seen.then_some(grant.methods),
            paths: seen.then_some(grant.paths),
            secret,
            secret_as,
            tunnel: grant.tunnel,
        }
    }
}

#[cfg(test)]
impl schemars::JsonSchema for HostGrant {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        Keys::schema_name()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        Keys::json_schema(generator)
    }
}

impl HostGrant {
    /// Whether this entry lets a call reach `host` (as in a URL, any case) at `port`. For [`Reach::Argument`] the caller
    /// says which host the argument of this very call names.
    pub fn covers(&self, host: &str, port: u16, from_argument: Option<&str>) -> bool {
        let named = match &self.reach {
            Reach::Host(name) => name.covers(host),
            Reach::Argument(_) => from_argument.is_some_and(|named| named.eq_ignore_ascii_case(host)),
        };
        named && port == self.port
    }

    /// Whether this method on this path may be asked for. `path` without the query; through a tunnel nobody sees it.
    pub fn allows(&self, method: Method, path: &str) -> bool {
        !self.tunnel && self.methods.contains(&method) && self.paths.iter().any(|prefix| prefix.covers(path))
    }
}

/// The name of a key at egress: `OPENWEATHER_KEY`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^[A-Z][A-Z0-9_]{0,63}$")))]
pub struct KeyName(String);

impl KeyName {
    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl TryFrom<String> for KeyName {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        let good = text.len() <= 64
            && text.starts_with(|c: char| c.is_ascii_uppercase())
            && text.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_');
        match good {
            true => Ok(Self(text)),
            // Not the text: it may be the key itself.
            false => Err("secret is the NAME of a key, like OPENWEATHER_KEY, never the key itself".into()),
        }
    }
}

impl From<KeyName> for String {
    fn from(name: KeyName) -> String {
        name.0
    }
}

/// Where egress puts a key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(test, derive(schemars::JsonSchema))]
#[serde(try_from = "String", into = "String")]
#[cfg_attr(test, schemars(with = "String", extend("pattern" = "^(bearer|header [A-Za-z0-9-]{1,64}|query [A-Za-z0-9_.-]{1,64})$")))]
pub enum Placement {
    /// `Authorization: Bearer KEY`.
    Bearer,
    /// This header.
    Header(String),
    /// This parameter of the query.
    Query(String),
}

impl TryFrom<String> for Placement {
    type Error = String;
    fn try_from(text: String) -> Result<Self, String> {
        // What routes or frames a request, or belongs to the connection, is nobody's place for a key.
        const TAKEN: [&str; 10] = [
            "host",
            "connection",
            "content-length",
            "transfer-encoding",
            "te",
            "trailer",
            "upgrade",
            "expect",
            "cookie",
            "keep-alive",
        ];
        let (kind, name) = text.split_once(' ').unwrap_or((&text, ""));
        let letters = |extra: &str| {
            (1..=64).contains(&name.len())
                && name.chars().all(|c| c.is_ascii_alphanumeric() || extra.contains(c))
        };
        let lower = name.to_ascii_lowercase();
        let free = !TAKEN.contains(&lower.as_str()) && !lower.starts_with("proxy-");
        match kind {
            "bearer" if text == "bearer" => Ok(Self::Bearer),
            "header" if letters("-") && free => Ok(Self::Header(lower)),
            "query" if letters("_.-") => Ok(Self::Query(name.to_owned())),
            _ => Err(format!(
                "secret_as {text:?} must be `bearer`, `header NAME` (none that routes or frames a request) or `query NAME`"
            )),
        }
    }
}

impl From<Placement> for String {
    fn from(placement: Placement) -> String {
        match placement {
            Placement::Bearer => "bearer".into(),
            Placement::Header(name) => format!("header {name}"),
            Placement::Query(name) => format!("query {name}"),
        }
    }
}
