//! `openclaw skills approve` and `revoke`: which hosts a skill may reach is told to egress by the operator, for exactly the
//! state of the folder that was looked at. The gateway has no such word.

use http::Method;
use openclaw_wire::{
    config::Config,
    egress::{Approval, Revoke},
    id::SkillId,
    skill::{HostGrant, Reach},
};

use crate::command::{
    place::Place,
    socket::{Socket, block_on},
};

/// Approves the hosts of a skill, given by its folder or by its name.
pub fn approve(named: &str, place: &Place) -> anyhow::Result<()> {
    // A configuration that cannot be read is no reason to look elsewhere.
    let skill = super::list::find(named, || Ok(Config::read(&place.config)?))?;
    let hosts = match skill.manifest {
        Some(manifest) => manifest.permissions.hosts,
        None => Vec::new(),
    };
    let id = &skill.id;
    if hosts.is_empty() {
        println!("{id} names no host: it has no way out, and none needs to be approved.");
        return Ok(());
    }
    let approval = Approval { skill: id.clone(), digest: skill.digest.clone(), hosts };
    block_on(Socket::egress(place).tell(Method::POST, "/skills/approve", Some(&approval)))?;
    println!("{id} may reach, as long as no file of it changes ({}):", &skill.digest[..16]);
    approval.hosts.iter().for_each(|grant| println!("  {}", words(grant)));
    Ok(())
}

/// Takes every approval of a skill back, and ends the calls of it that have a way out.
pub fn revoke(skill: &SkillId, place: &Place) -> anyhow::Result<()> {
    let wish = Revoke { skill: skill.clone() };
    block_on(Socket::egress(place).tell(Method::POST, "/skills/revoke", Some(&wish)))?;
    println!("{skill} may reach nothing any more.");
    Ok(())
}

/// One entry in plain words.
fn words(grant: &HostGrant) -> String {
    let place = match &grant.reach {
        Reach::Host(host) => format!("{}:{}", host.as_str(), grant.port),
        Reach::Argument(name) => {
            format!("any public host at port {} that stands in the argument {name:?} of the call", grant.port)
        }
    };
    if grant.tunnel {
        return format!("{place}, unseen: only the host's name is checked");
    }
    let methods: Vec<_> = grant.methods.iter().map(|method| method.as_str()).collect();
    let paths: Vec<_> = grant.paths.iter().map(|prefix| prefix.as_str()).collect();
    let mut text = format!("{place}: {} {}", methods.join(" "), paths.join(" "));
    if let Some((key, _)) = &grant.secret {
        text += &format!(", with the key {}", key.as_str());
    }
    text
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    #[test]
    fn an_entry_is_told_in_plain_words() {
        let words = |entry: Value| super::words(&serde_json::from_value(entry).expect("an entry"));
        assert_eq!(words(json!({ "host": "api.example.com" })), "api.example.com:443: GET /");
        assert_eq!(
            words(
                json!({ "host": "api.example.com", "port": 8443, "methods": ["GET", "POST"], "paths": ["/data"],
                "secret": "WEATHER_KEY" })
            ),
            "api.example.com:8443: GET POST /data, with the key WEATHER_KEY"
        );
        assert!(words(json!({ "host": "api.example.com", "tunnel": true })).contains("unseen"));
        assert!(words(json!({ "argument": "url" })).starts_with("any public host at port 443"));
    }
}
