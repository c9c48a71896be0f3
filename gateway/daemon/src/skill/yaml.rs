//! The little of YAML that a frontmatter needs: texts, lists, maps. Anchors, aliases and tags are refused (one line could
//! mean a gigabyte, or a type), and every scalar is a text, so that `no` is a word and not `false`.

use saphyr_parser::{Event, Parser};

/// A value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Yaml {
    /// A scalar, as it is written.
    Text(String),
    /// A sequence.
    List(Vec<Yaml>),
    /// A mapping, in its order; no key stands twice.
    Map(Vec<(String, Yaml)>),
}

/// Deeper than any frontmatter, and far from the end of a stack.
const DEPTH: usize = 16;

impl Yaml {
    /// Reads one document. An error has its line, from 1.
    pub fn read(text: &str) -> Result<Self, String> {
        let mut open: Vec<Open> = Vec::new();
        let mut whole = None;
        for event in Parser::new_from_str(text) {
            let (event, span) =
                event.map_err(|error| format!("line {}: {}", error.marker().line(), error.info()))?;
            let wrong = |message: &str| Err(format!("line {}: {message}", span.start.line()));
            let done = match event {
                Event::Alias(_) => return wrong("aliases are not allowed"),
                Event::Scalar(_, _, anchor, tag) if anchor != 0 || tag.is_some() => {
                    return wrong("anchors and tags are not allowed");
                }
                Event::SequenceStart(anchor, tag) | Event::MappingStart(anchor, tag)
                    if anchor != 0 || tag.is_some() =>
                {
                    return wrong("anchors and tags are not allowed");
                }
                Event::SequenceStart(..) | Event::MappingStart(..) if open.len() == DEPTH => {
                    return wrong("nested too deeply");
                }
                Event::SequenceStart(..) => {
                    open.push(Open::List(Vec::new()));
                    continue;
                }
                Event::MappingStart(..) => {
                    open.push(Open::Map(Vec::new(), None));
                    continue;
                }
                Event::Scalar(text, ..) => Self::Text(text.into_owned()),
                Event::SequenceEnd | Event::MappingEnd => match open.pop() {
                    Some(Open::List(list)) => Self::List(list),
                    Some(Open::Map(map, _)) => Self::Map(map),
                    None => return wrong("an end without a beginning"),
                },
                _ => continue,
            };
            match open.last_mut() {
                None if whole.is_some() => return wrong("a second document"),
                None => whole = Some(done),
                Some(Open::List(list)) => list.push(done),
                Some(Open::Map(map, key)) => match (key.take(), done) {
                    (Some(name), value) => map.push((name, value)),
                    (None, Self::Text(name)) if map.iter().any(|(other, _)| *other == name) => {
                        return wrong(&format!("the key {name:?} stands twice"));
                    }
                    (None, Self::Text(name)) => *key = Some(name),
                    (None, _) => return wrong("a key must be a text"),
                },
            }
        }
        whole.ok_or_else(|| "it is empty".into())
    }

    /// The value of a key; `None` for what is no map.
    pub fn get(&self, name: &str) -> Option<&Self> {
        match self {
            Self::Map(map) => map.iter().find(|(key, _)| key == name).map(|(_, value)| value),
            _ => None,
        }
    }

    /// The text, if it is one.
    pub fn text(&self) -> Option<&str> {
        match self {
            Self::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The texts of a list; a single text is a list of one.
    pub fn texts(&self) -> Vec<&str> {
        match self {
            Self::Text(text) => vec![text],
            Self::List(list) => list.iter().filter_map(Self::text).collect(),
            Self::Map(_) => Vec::new(),
        }
    }
}

enum Open {
    List(Vec<Yaml>),
    Map(Vec<(String, Yaml)>, Option<String>),
}

#[cfg(test)]
mod tests {
    use super::Yaml;

    #[test]
    fn plain_documents_are_read_and_tricks_are_refused() {
        let read = Yaml::read("name: no\nlist: [a, 1]\nmap:\n  x: >-\n    two\n    lines\n").expect("good");
        assert_eq!(read.get("name").and_then(Yaml::text), Some("no"));
        assert_eq!(read.get("list").expect("list").texts(), ["a", "1"]);
        assert_eq!(read.get("map").and_then(|map| map.get("x")?.text()), Some("two lines"));
        let deep = "[".repeat(20) + &"]".repeat(20);
        for (bad, part) in [
            ("a: &x 1\nb: *x\n", "line 1: anchors"),
            ("a: !!python/object x\n", "tags are not allowed"),
            ("a: 1\na: 2\n", "line 2: the key \"a\" stands twice"),
            ("? [a]\n: b\n", "a key must be a text"),
            ("a: 1\n---\nb: 2\n", "a second document"),
            ("", "empty"),
            ("a: [\n", "line"),
            (deep.as_str(), "nested too deeply"),
        ] {
            let error = Yaml::read(bad).expect_err(bad);
            assert!(error.contains(part), "{bad:.20}: {error}");
        }
        assert!(Yaml::read(&"[".repeat(100_000)).is_err());
    }
}
