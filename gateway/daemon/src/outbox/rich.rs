//! Marked-up text as a plain text and ranges over it. Telegram HTML is only ever made from here, so it is well formed
//! by construction: every tag that opens closes, whatever the model wrote.

use std::ops::Range;

/// Text and its marks.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Rich {
    pub(super) text: String,
    /// INVARIANT: ordered by start, the outer before the inner; any two are apart or one contains the other; none is
    /// empty; all begin and end between characters.
    pub(super) marks: Vec<Mark>,
}

/// A stretch of text that looks different.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Mark {
    pub range: Range<usize>,
    pub kind: Kind,
}

/// How it looks.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Kind {
    /// `<b>`
    Bold,
    /// `<i>`
    Italic,
    /// `<s>`
    Strike,
    /// `<code>`
    Code,
    /// `<pre>`, with the language if one is named.
    Pre(Option<String>),
    /// `<blockquote>`
    Quote,
    /// `<a href>`; http and https only.
    Link(String),
}

impl Rich {
    /// Text without marks.
    pub fn plain(text: impl AsRef<str>) -> Self {
        Self::default().with(text, None)
    }

    /// Adds text at the end, marked or not. For the gateway's own messages.
    #[must_use]
    pub fn with(mut self, text: impl AsRef<str>, kind: Option<Kind>) -> Self {
        let start = self.text.len();
        self.text.extend(text.as_ref().chars().filter(|c| shown(*c)));
        if let Some(kind) = kind.filter(|_| self.text.len() > start) {
            self.marks.push(Mark { range: start..self.text.len(), kind });
        }
        self
    }

    /// The text alone.
    pub fn text(&self) -> &str {
        &self.text
    }

    /// Telegram would find nothing to show.
    pub fn is_blank(&self) -> bool {
        is_blank(&self.text)
    }

    /// A range of it as Telegram HTML; marks that it cuts are closed at its end.
    pub(super) fn html(&self, range: Range<usize>) -> String {
        let mut out = String::with_capacity(range.len() + range.len() / 8);
        let mut open: Vec<(usize, &Kind)> = Vec::new();
        let mut at = range.start;
        for mark in self.marks_in(&range) {
            let start = mark.range.start.max(range.start);
            while let Some((end, kind)) = open.pop_if(|(end, _)| *end <= start) {
                escape(&self.text[at..end], &mut out);
                at = end;
                kind.close(&mut out);
            }
            escape(&self.text[at..start], &mut out);
            at = start;
            mark.kind.open(&mut out);
            open.push((mark.range.end.min(range.end), &mark.kind));
        }
        while let Some((end, kind)) = open.pop() {
            escape(&self.text[at..end], &mut out);
            at = end;
            kind.close(&mut out);
        }
        escape(&self.text[at..range.end], &mut out);
        out
    }

    /// A range of it without any markup, the addresses of its links behind their texts.
    pub(super) fn with_addresses(&self, range: Range<usize>) -> String {
        let mut out = String::with_capacity(range.len());
        let mut at = range.start;
        for mark in self.marks_in(&range) {
            let Kind::Link(url) = &mark.kind else { continue };
            let ends_here = mark.range.end <= range.end;
            if ends_here && !self.text[mark.range.clone()].contains(url.as_str()) {
                out.push_str(&self.text[at..mark.range.end]);
                at = mark.range.end;
                out.push_str(" (");
                out.push_str(url);
                out.push(')');
            }
        }
        out.push_str(&self.text[at..range.end]);
        out
    }

    fn marks_in<'a>(&'a self, range: &Range<usize>) -> impl Iterator<Item = &'a Mark> + use<'a> {
        let range = range.clone();
        self.marks
            .iter()
            .take_while({
                let end = range.end;
                move |mark| mark.range.start < end
            })
            .filter(move |mark| mark.range.end > range.start)
    }
}

impl Kind {
    fn open(&self, out: &mut String) {
        match self {
            Kind::Bold => out.push_str("<b>"),
            Kind::Italic => out.push_str("<i>"),
            Kind::Strike => out.push_str("<s>"),
            Kind::Code => out.push_str("<code>"),
            Kind::Pre(None) => out.push_str("<pre>"),
            Kind::Pre(Some(language)) => {
                out.push_str("<pre><code class=\"language-");
                escape(language, out);
                out.push_str("\">");
            }
            Kind::Quote => out.push_str("<blockquote>"),
            Kind::Link(url) => {
                out.push_str("<a href=\"");
                escape(url, out);
                out.push_str("\">");
            }
        }
    }

    fn close(&self, out: &mut String) {
        out.push_str(match self {
            Kind::Bold => "</b>",
            Kind::Italic => "</i>",
            Kind::Strike => "</s>",
            Kind::Code => "</code>",
            Kind::Pre(None) => "</pre>",
            Kind::Pre(Some(_)) => "</code></pre>",
            Kind::Quote => "</blockquote>",
            Kind::Link(_) => "</a>",
        });
    }
}

/// Telegram knows these four entities only.
fn escape(text: &str, out: &mut String) {
    let mut rest = text;
    while let Some(at) = rest.find(['&', '<', '>', '"']) {
        out.push_str(&rest[..at]);
        out.push_str(match rest.as_bytes()[at] {
            b'&' => "&amp;",
            b'<' => "&lt;",
            b'>' => "&gt;",
            _ => "&quot;",
        });
        rest = &rest[at + 1..];
    }
    out.push_str(rest);
}

/// Control characters and the marks that turn the direction of writing around are left out: Telegram does so too, and
/// the latter can make an address look like another one.
pub(super) fn shown(c: char) -> bool {
    let control = c.is_control() && !matches!(c, '\n' | '\t');
    !control && !matches!(c, '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Nothing but white space and characters without a shape: Telegram refuses such a message as empty.
pub(super) fn is_blank(text: &str) -> bool {
    text.chars().all(|c| {
        c.is_whitespace()
            || matches!(c, '\u{AD}' | '\u{180E}' | '\u{200B}'..='\u{200F}' | '\u{2028}'..='\u{202E}')
            || matches!(c, '\u{2060}'..='\u{206F}' | '\u{2800}' | '\u{3164}' | '\u{FEFF}')
    })
}

#[cfg(test)]
mod tests {
    use super::{Kind, Rich};

    #[test]
    fn own_messages_are_escaped_and_marked() {
        let rich = Rich::plain("a<b> & \"c\"\u{0}\u{202E}\n").with("x>y", Some(Kind::Pre(None)));
        assert_eq!(rich.html(0..rich.text.len()), "a&lt;b&gt; &amp; &quot;c&quot;\n<pre>x&gt;y</pre>");
        assert!(Rich::plain(" \u{200B}\n").is_blank());
        assert!(!Rich::plain("👍").is_blank());
    }
}
