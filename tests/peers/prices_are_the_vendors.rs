//! Our prices and our arithmetic beside those of genai-prices, which nobody here wrote.

use std::process::{Command, Stdio};

use openclaw_tests::peers;
use openclaw_wire::{config::Config, money::Usd};

fn prices(argument: &str) -> Command {
    let mut command = Command::new(peers::path("venv/bin/python"));
    command.arg(peers::driver("prices.py")).arg(argument).stdout(Stdio::piped()).stderr(Stdio::inherit());
    command
}

/// The table that ships is what the generator makes of the version that it names, and the sums that a unit test of egress
/// expects are those of its calculator.
#[test]
fn table_and_sums_are_those_of_genai_prices() {
    for (argument, ours) in [
        ("table", include_str!("../../gateway/egress/src/spend/prices.toml")),
        ("cases", include_str!("../../gateway/egress/src/spend/prices.jsonl")),
    ] {
        let made = prices(argument).output().expect("python runs");
        assert!(made.status.success());
        assert!(
            String::from_utf8_lossy(&made.stdout) == ours,
            "tests/peers/prices.py {argument} gives something else"
        );
    }
}

/// What pictures and sound cost is what it says of the models that the bundled skills ask for; the bound of a sound is the
/// price of the longest one that its bytes can hold.
#[test]
fn pictures_and_sound_cost_what_genai_prices_says() {
    let ours = include_str!("../../gateway/egress/src/spend/calls.toml");
    let ours = Config::parse(ours, "calls.toml".as_ref()).expect("the table").price;
    let made = prices("calls").output().expect("python runs");
    assert!(made.status.success());
    let said = String::from_utf8(made.stdout).expect("text");
    let mut fields = Vec::new();
    for line in said.lines() {
        let [path, field, price] = line.split(' ').collect::<Vec<_>>()[..] else { panic!("{line}") };
        let price: Usd = price.parse().expect("dollars");
        let row = ours.iter().find(|row| row.path.as_ref().is_some_and(|known| known.as_str() == path));
        let row = row.unwrap_or_else(|| panic!("no price of {path}"));
        match field {
            "input" => assert_eq!(row.input, Some(price), "{line}"),
            "output" => assert_eq!(row.output, Some(price), "{line}"),
            "second" => {
                assert_eq!(row.second, price, "{line}");
                let longest = (1 << 20) * 8 / 6000 + 1;
                assert!(row.sent_mib.as_nano() >= longest * price.as_nano(), "a MiB of sound");
            }
            other => panic!("{other}"),
        }
        fields.push(field);
    }
    assert_eq!(fields, ["input", "output", "second"]);
}
