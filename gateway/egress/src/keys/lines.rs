//! The key file's form: one `NAME=value` on each line. Read and changed line by line, so that comments and order stay.
//! Errors name lines by number and never show what stands in them.

use openclaw_confine::locked::{Full, Locked};

/// Reads `NAME=value` lines; what it gives borrows from the text.
pub fn parse(text: &str) -> Result<Vec<(&str, &str)>, String> {
    let mut entries: Vec<(&str, &str)> = Vec::new();
    let mut bad = Vec::new();
    for (number, line) in (1..).zip(text.lines()) {
        match entry(line.trim()) {
            Ok(None) => {}
            Ok(Some((name, value))) => match entries.iter().any(|(known, _)| *known == name) {
                true => bad.push(format!("line {number} names a key a second time")),
                false => entries.push((name, value)),
            },
            Err(why) => bad.push(format!("line {number} {why}")),
        }
    }
    match bad.is_empty() {
        true => Ok(entries),
        false => Err(bad.join(", ")),
    }
}

/// The text with another value for a name, or without the name; a new name comes last.
pub fn with(text: &str, name: &str, value: Option<&str>) -> Result<Locked, Full> {
    let mut changed = Locked::zeroed(text.len() + name.len() + value.map_or(0, str::len) + 3)?;
    let mut length = 0;
    let mut add = |part: &str| {
        changed.as_mut()[length..length + part.len()].copy_from_slice(part.as_bytes());
        length += part.len();
    };
    let is_it = |line: &str| {
        let line = line.trim();
        let line = line.strip_prefix("export ").unwrap_or(line);
        line.split_once('=').is_some_and(|(known, _)| known.trim() == name)
    };
    let mut there = false;
    for line in text.split_inclusive('\n') {
        if !is_it(line) {
            add(line);
        } else if let Some(value) = value.filter(|_| !there) {
            [name, "=", value, "\n"].into_iter().for_each(&mut add);
        }
        there |= is_it(line);
    }
    if let Some(value) = value.filter(|_| !there) {
        if !text.is_empty() && !text.ends_with('\n') {
            add("\n");
        }
        [name, "=", value, "\n"].into_iter().for_each(&mut add);
    }
    changed.truncate(length);
    Ok(changed)
}

/// `A-Z 0-9 _`, not beginning with a digit.
pub fn is_name(name: &str) -> bool {
    !name.is_empty()
        && !name.starts_with(|c: char| c.is_ascii_digit())
        && name.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit() || b == b'_')
}

/// Whether a value can stand in a line without quotes.
pub fn is_value(value: &str) -> bool {
    !value.is_empty()
        && !value.starts_with(['"', '\''])
        && !value.contains(|c: char| c.is_whitespace() || c.is_control())
}

fn entry(line: &str) -> Result<Option<(&str, &str)>, &'static str> {
    if line.is_empty() || line.starts_with('#') {
        return Ok(None);
    }
    let line = line.strip_prefix("export ").unwrap_or(line);
    let (name, value) = line.split_once('=').ok_or("has no `=`")?;
    let name = name.trim();
    if !is_name(name) {
        return Err("has an odd name");
    }
    let value = value.trim();
    let value = match value.chars().next().filter(|c| matches!(c, '"' | '\'')) {
        Some(quote) => {
            let inner = value[1..].strip_suffix(quote).ok_or("has a quote that does not end the line")?;
            if inner.contains([quote, '\\']) {
                return Err("has quotes or backslashes inside quotes");
            }
            inner
        }
        None if value.contains(char::is_whitespace) => return Err("has blanks in a value without quotes"),
        None => value,
    };
    if value.chars().any(char::is_control) {
        return Err("has a control character");
    }
    // `NAME=` is how a template leaves a key open.
    Ok((!value.is_empty()).then_some((name, value)))
}

#[cfg(test)]
mod tests {
    use super::{is_value, parse, with};

    #[test]
    fn lines_are_names_and_values() {
        let text = "# comment\n\n A=1\r\nexport B_2 = 'two words'\nC=\"x=y#z\"\nD=\nE=a#b\n";
        let entries = parse(text).expect("good");
        assert_eq!(entries, [("A", "1"), ("B_2", "two words"), ("C", "x=y#z"), ("E", "a#b")]);
    }

    #[test]
    fn bad_lines_are_named_by_number_and_not_shown() {
        let cases = [
            ("hidden", "line 1 has no `=`"),
            ("A=ok\nlower=hidden", "line 2 has an odd name"),
            ("=hidden", "line 1 has an odd name"),
            ("1A=hidden", "line 1 has an odd name"),
            ("A='hidden", "line 1 has a quote that does not end the line"),
            ("A=\"hidden\" # why", "line 1 has a quote that does not end the line"),
            ("A=hidden # why", "line 1 has blanks in a value without quotes"),
            ("A=\"hid\\\"den\"", "line 1 has quotes or backslashes inside quotes"),
            ("A=hidden\u{7}", "line 1 has a control character"),
            ("A=\"", "line 1 has a quote that does not end the line"),
            ("A=1\nA=hidden\nhidden", "line 2 names a key a second time, line 3 has no `=`"),
        ];
        for (text, want) in cases {
            let message = parse(text).expect_err(want);
            assert_eq!(message, want);
            assert!(!message.contains("hidden"));
        }
    }

    #[test]
    fn one_line_changes_and_the_others_stay() {
        let text = "# my keys\nA=1\nexport B='two words'\n\n# last\nC=3";
        let cases = [
            ("A", Some("9"), "# my keys\nA=9\nexport B='two words'\n\n# last\nC=3"),
            ("B", Some("9"), "# my keys\nA=1\nB=9\n\n# last\nC=3"),
            ("C", None, "# my keys\nA=1\nexport B='two words'\n\n# last\n"),
            ("D", Some("4"), "# my keys\nA=1\nexport B='two words'\n\n# last\nC=3\nD=4\n"),
            ("D", None, text),
        ];
        for (name, value, want) in cases {
            let changed = with(text, name, value).expect("room");
            assert_eq!(std::str::from_utf8(changed.as_ref()), Ok(want));
        }
        let first = with("", "A", Some("1")).expect("room");
        assert_eq!(first.as_ref(), b"A=1\n");
    }

    #[test]
    fn a_value_is_one_word() {
        for (value, good) in
            [("sk-a/b+c=", true), ("", false), ("a b", false), ("'a'", false), ("a\n", false)]
        {
            assert_eq!(is_value(value), good, "{value:?}");
        }
    }
}
