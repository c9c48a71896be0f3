//! What is wrong with a configuration's text: where, in which key, and what was expected. Never the value that stands
//! there: it may be a key that somebody pasted into the wrong file.

/// Longest word of a file that is shown: names of settings and of their values are shorter, keys are longer.
const WORD: usize = 16;

/// `line 3, column 9 (steps): invalid type: string …, expected u32`.
pub fn describe(error: &toml::de::Error, text: &str) -> String {
    let message = without_values(error.message());
    let Some(span) = error.span() else { return message };
    let before = text.get(..span.start).unwrap_or(text);
    let line = before.matches('\n').count() + 1;
    let start = before.rfind('\n').map_or(0, |at| at + 1);
    let column = before[start..].chars().count() + 1;
    let name =
        text[start..].lines().next().and_then(|line| line.split_once('=')).map(|(name, _)| name.trim());
    match name.filter(|name| is_word(name)) {
        Some(name) => format!("line {line}, column {column} ({name}): {message}"),
        None => format!("line {line}, column {column}: {message}"),
    }
}

/// A message without what it quotes from the file, unless that is a short word.
pub fn without_values(message: &str) -> String {
    let mut clean = String::with_capacity(message.len());
    let mut rest = message.lines().next().unwrap_or_default();
    while let Some(at) = rest.find(['"', '`']) {
        let (before, quoted) = rest.split_at(at);
        let quote = &quoted[..1];
        clean.push_str(before);
        // Debug output escapes a quote inside.
        let escaped = |end: usize| quoted[..end].ends_with('\\');
        let end = quoted.match_indices(quote).map(|(at, _)| at).skip(1).find(|end| !escaped(*end));
        let Some(end) = end else {
            clean.push('…');
            return clean;
        };
        match is_word(&quoted[1..end]) {
            true => clean.push_str(&quoted[..=end]),
            false => clean.push('…'),
        }
        rest = &quoted[end + 1..];
    }
    clean.push_str(rest);
    clean
}

fn is_word(text: &str) -> bool {
    !text.is_empty()
        && text.chars().count() <= WORD
        && text
            .bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || b"_.:/@-".contains(&byte))
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use crate::config::Config;

    #[test]
    fn a_key_in_the_wrong_place_is_not_shown() {
        let key = "test-Key-not-real-0123456789";
        for (text, part) in [
            (format!("[turn]\nsteps = \"{key}\""), "line 2, column 9 (steps): invalid type: string …"),
            (format!("profile = \"{key}\""), "line 1, column 11 (profile): unknown variant …, expected"),
            (format!("[log]\n{key} = 1"), "line 2, column 1: unknown field …"),
            (format!("[log]\nkey {key}"), "line 2"),
            (format!("[log]\nkey = {key}"), "line 2"),
            (format!("[log]\nlevel = \"info\" {key}"), "line 2"),
            (format!("[telegram]\napi = \"{key}\""), "(api)"),
            (format!("[webhook]\nlisten = \"{key}\\\" {key}\""), "(listen): … is neither"),
            (format!("[[telegram.bot]]\nname = \"a\"\ntoken = \"1:{key}\""), "NAME of a key"),
            (format!("[[telegram.bot]]\nname = \"{key}\""), "line 2, column 8 (name)"),
            (format!("[access]\nowners = [\"{key}\"]"), "is a name"),
            (key.to_owned(), "line 1"),
        ] {
            let error = Config::parse(&text, Path::new("t.toml")).expect_err(&text).to_string();
            assert!(error.contains(part), "{error}");
            for piece in ["Key", "real", "0123"] {
                assert!(!error.contains(piece), "{error}");
            }
        }
    }
}
