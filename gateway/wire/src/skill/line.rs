//! Where in the text a key of the manifest stands. For messages only; never decides anything.

use toml::de::{DeTable, DeValue};

/// One step down into the manifest.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Step<'a> {
    /// A key of a table.
    Key(&'a str),
    /// An element of a list, from 0.
    At(usize),
}

/// Line of what the steps lead to, from 1; of the last step that leads anywhere. `None` for a text that is no TOML.
pub(super) fn of(text: &str, steps: &[Step<'_>]) -> Option<usize> {
    let document = DeTable::parse(text).ok()?;
    let mut place = 0;
    let mut table = Some(document.get_ref());
    let mut value: Option<&DeValue<'_>> = None;
    for step in steps {
        let next = match step {
            Step::Key(name) => table.and_then(|table| {
                let (key, value) = table.iter().find(|(key, _)| key.get_ref() == name)?;
                Some((key.span().start, value))
            }),
            Step::At(number) => {
                let element = value.and_then(|value| value.as_array()?.get(*number));
                element.map(|element| (element.span().start, element))
            }
        };
        let Some((start, found)) = next else { break };
        place = start;
        value = Some(found.get_ref());
        table = found.get_ref().as_table();
    }
    Some(at(text, place))
}

/// Line of a byte, from 1.
pub(super) fn at(text: &str, byte: usize) -> usize {
    1 + text.as_bytes()[..byte.min(text.len())].iter().filter(|byte| **byte == b'\n').count()
}

#[cfg(test)]
mod tests {
    use super::{
        Step::{At, Key},
        of,
    };

    #[test]
    fn a_key_is_found_on_its_line() {
        let text = "program = \"x\"\n[limits]\n\nwall = \"1 s\"\n[[tool]]\nname = \"a\"\n[[tool]]\nname = \"b\"\n\
                    roles = { x = \"flag\" }\n";
        for (steps, line) in [
            (vec![Key("limits"), Key("wall")], 4),
            (vec![Key("tool"), At(0), Key("name")], 6),
            (vec![Key("tool"), At(1), Key("name")], 8),
            (vec![Key("tool"), At(1), Key("roles"), Key("x")], 9),
            (vec![Key("limits"), Key("absent")], 2),
            (vec![], 1),
        ] {
            assert_eq!(of(text, &steps), Some(line), "{steps:?}");
        }
        assert_eq!(of("= =", &[]), None);
    }
}
