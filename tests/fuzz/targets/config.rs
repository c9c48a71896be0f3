//! The operator's configuration: whatever is accepted makes sense, and written out it is accepted again and says the
//! same.
#![no_main]

use std::path::Path;

use libfuzzer_sys::fuzz_target;
use openclaw_wire::config::{Config, Listen};

fuzz_target!(|text: &str| {
    let path = Path::new("openclaw.toml");
    let config = match Config::parse(text, path) {
        Ok(config) => config,
        Err(error) => {
            assert!(error.to_string().starts_with("configuration openclaw.toml: "));
            return;
        }
    };
    match &config.webhook.listen {
        Listen::Tcp(address) => assert!(address.ip().is_loopback()),
        Listen::Unix(path) => assert!(path.is_absolute()),
    }
    let groups = config.access.group.iter();
    let people = groups.clone().flat_map(|group| &group.people);
    assert!(groups.clone().all(|group| group.chat.0 < 0));
    assert!(
        config.access.owners.iter().chain(&config.access.people).chain(people).all(|person| person.0.0 > 0)
    );
    for url in config.model.iter().filter_map(|model| model.url.as_ref()) {
        assert!(url.password().is_none() && url.query().is_none() && url.has_host());
    }
    let written = toml::to_string(&config).expect("a configuration can be written");
    let again = Config::parse(&written, path).unwrap_or_else(|error| panic!("{error}\n{written}"));
    assert_eq!(again, config);
});
