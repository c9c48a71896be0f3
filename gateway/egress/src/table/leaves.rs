//! Where a skill may have a key sent that the table has a use for. Whether the skill may go there at all is not asked here.

use url::Url;

use super::Table;
use crate::way::is_below;

impl Table {
    /// Whether a skill may have a key sent to this host and port: nobody else uses the key, or a model at that very host
    /// and port does. Not to the path of such a model's own calls, nor below it: what those cost stands in their bodies.
    pub fn leaves_to(&self, key: &str, (host, port): (&str, u16), path: Option<&str>) -> bool {
        let here = |own: &&Url| own.host_str() == Some(host) && own.port_or_known_default() == Some(port);
        let users = self.models.iter().filter(|row| row.keys.iter().any(|name| name == key));
        let there: Vec<&Url> = users.filter_map(|row| row.own.as_ref()).filter(here).collect();
        match path {
            _ if self.users_of(key).next().is_none() => true,
            Some(path) => !there.is_empty() && !there.iter().any(|own| is_below(path, own.path())),
            None => !there.is_empty(),
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::table::tests::table;

    /// Whatever was approved: a skill gets a model's key at its host and port alone, and not for the model's own calls.
    #[test]
    fn a_models_key_goes_with_a_skill_to_its_own_host_and_port_and_not_to_its_path() {
        let config = "[[model]]\nname='o'\napi='openai'\nmodel='m'\nkey='O'\n\
            [[model]]\nname='l'\napi='openai'\nmodel='m'\nkey='L'\nurl='https://box.example:8443/v1/'\n\
            [[telegram.bot]]\nname='b'\ntoken='T'";
        let table = table(config, &[("O", "k"), ("T", "1:test_Token-not-real"), ("X", "k")]);
        let (api, own) = (("api.openai.com", 443), "/v1/chat/completions");
        assert!(table.leaves_to("O", api, None) && table.leaves_to("O", api, Some("/v1/images/generations")));
        assert!(!table.leaves_to("O", ("api.openai.com", 8443), None), "another port");
        assert!(!table.leaves_to("O", ("api.openai.example", 443), None), "another host");
        for path in [own, "/v1/chat/completions/", "/v1//Chat/completions/x", "/v1/chat/%63ompletions"] {
            assert!(!table.leaves_to("O", api, Some(path)), "{path}");
        }
        assert!(table.leaves_to("O", api, Some("/v1/chat/completionsx")));
        // A row that can't be used, here for want of its key, binds it all the same.
        assert!(table.leaves_to("L", ("box.example", 8443), Some("/v1/models")));
        assert!(!table.leaves_to("L", ("box.example", 443), None));
        assert!(!table.leaves_to("L", ("box.example", 8443), Some(own)));
        assert!(!table.leaves_to("T", ("api.telegram.org", 443), None), "a bot's goes nowhere");
        assert!(table.leaves_to("X", ("anywhere.example", 1), Some(own)), "nobody else uses it");
    }
}
