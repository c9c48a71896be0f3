//! Changes a value in the text of `openclaw.toml` and nothing around it: comments, order and spaces stay.

use std::ops::Range;

use serde::Deserialize;
use toml::Spanned;

use crate::audit::verdict::Edit;

type Values = std::collections::BTreeMap<String, toml::Value>;

/// Where the lists of people stand.
#[derive(Deserialize, Default)]
#[serde(default)]
struct People {
    access: Access,
}

#[derive(Deserialize, Default)]
#[serde(default)]
struct Access {
    owners: Option<Spanned<Vec<toml::Value>>>,
    people: Option<Spanned<Vec<toml::Value>>>,
    group: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    #[serde(default)]
    people: Option<Spanned<Vec<toml::Value>>>,
}

/// The text with the change; the same text where there is nothing to change.
pub fn apply(text: &str, edit: &Edit) -> anyhow::Result<String> {
    let mut changes: Vec<(Range<usize>, String)> = Vec::new();
    match edit {
        Edit::Value { section, key, to } => {
            changes.extend(value(text, section, key)?.map(|at| (at, to.clone())))
        }
        Edit::Strangers => {
            let access = toml::from_str::<People>(text)?.access;
            let groups = access.group.into_iter().filter_map(|group| group.people);
            for list in access.owners.into_iter().chain(access.people).chain(groups) {
                let at = list.span();
                let all = list.into_inner();
                let known: Vec<String> = all
                    .iter()
                    .filter_map(toml::Value::as_integer)
                    .filter(|id| *id > 0)
                    .map(|id| id.to_string())
                    .collect();
                if known.len() < all.len() {
                    changes.push((at, format!("[{}]", known.join(", "))));
                }
            }
        }
    }
    changes.sort_by_key(|(at, _)| std::cmp::Reverse(at.start));
    let mut changed = text.to_owned();
    for (at, to) in changes {
        changed.replace_range(at, &to);
    }
    // Whatever else is wrong with it: it is TOML, and has the same keys.
    let keys =
        |text: &str| toml::from_str::<Values>(text).map(|values| values.into_keys().collect::<Vec<_>>());
    anyhow::ensure!(keys(&changed)? == keys(text)?, "the change would break the file");
    Ok(changed)
}

/// Sections in which a value may be replaced, each value with its place.
#[derive(Deserialize, Default)]
#[serde(default)]
struct Sections {
    log: Placed,
    admin: Placed,
    webhook: Placed,
    spend: Placed,
    files: Placed,
}

type Placed = std::collections::BTreeMap<String, Spanned<toml::Value>>;

/// Where the value of a key stands.
fn value(text: &str, section: &str, key: &str) -> anyhow::Result<Option<Range<usize>>> {
    let all: Sections = toml::from_str(text)?;
    let values = match section {
        "log" => all.log,
        "admin" => all.admin,
        "webhook" => all.webhook,
        "spend" => all.spend,
        "files" => all.files,
        other => anyhow::bail!("no value of section [{other}] is replaced"),
    };
    Ok(values.get(key).map(|value| value.span()))
}

#[cfg(test)]
mod tests {
    use super::apply;
    use crate::audit::verdict::Edit;

    #[test]
    fn a_value_changes_and_nothing_around_it() {
        let text = "# mine\nprofile = \"production\"\n\n[log]\nlevel   =  \"debug\" # for a while\n[admin]\nlisten = \"0.0.0.0:1\"\n";
        let set = |section, key, to: &str| Edit::Value { section, key, to: to.into() };
        let changed = apply(text, &set("log", "level", "\"info\"")).expect("changed");
        assert_eq!(changed, text.replace("\"debug\"", "\"info\""));
        let changed = apply(text, &set("admin", "listen", "\"127.0.0.1:1\"")).expect("changed");
        assert_eq!(changed, text.replace("0.0.0.0", "127.0.0.1"));
        assert_eq!(apply(text, &set("log", "format", "\"json\"")).expect("nothing to change"), text);
        assert!(apply("= =", &set("log", "level", "\"info\"")).is_err());
    }

    #[test]
    fn who_is_no_number_goes_from_each_list() {
        let text = "[access]\nowners = [1, \"*\"] # me\npeople = [2, -3, \"@a\", 4]\n[[access.group]]\nchat = -1\npeople = [\"*\"]\n";
        let changed = apply(text, &Edit::Strangers).expect("changed");
        let expected =
            "[access]\nowners = [1] # me\npeople = [2, 4]\n[[access.group]]\nchat = -1\npeople = []\n";
        assert_eq!(changed, expected);
        assert_eq!(apply(expected, &Edit::Strangers).expect("nothing"), expected);
    }
}
