//! Our prices and our arithmetic beside those of genai-prices, which nobody here wrote.

use std::process::{Command, Stdio};

use openclaw_tests::peers;

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
