//! A model's Markdown (CommonMark with tables, strikethrough and task lists) → [`Rich`]. Raw HTML stays visible text,
//! images become links, and only http and https links are clickable, if the caller agrees to each. Never fails.

mod defang;
mod table;

use pulldown_cmark::{CodeBlockKind, Event, Options, Parser, Tag, TagEnd};

use super::rich::{Kind, Mark, Rich, shown};

/// Longest address that is made clickable, in bytes: with its escapes it must leave room in one message.
const LONGEST_LINK: usize = 2048;
/// Longest address that is shown behind its text, in characters.
const LONGEST_SHOWN: usize = 300;
/// Deepest indentation of lists. Deeper ones are shown at this depth.
const DEEPEST_LIST: usize = 8;

/// Converts. `link` says of each address, and of each word that Telegram would turn into a link by itself, whether it
/// may be clickable; what may not is shown with `hxxp` and `[.]` (incident 114).
pub fn markdown(source: &str, link: &dyn Fn(&str) -> bool) -> Rich {
    let options = Options::ENABLE_TABLES | Options::ENABLE_STRIKETHROUGH | Options::ENABLE_TASKLISTS;
    let mut writer = Writer::new(link);
    for event in Parser::new_ext(source, options) {
        writer.event(event);
    }
    writer.finish()
}

struct Writer<'a> {
    link: &'a dyn Fn(&str) -> bool,
    text: String,
    marks: Vec<Mark>,
    /// Indexes into `marks` of those that are still open; their ends are not known yet. `None` for one inside its own
    /// kind, which changes nothing: nested by the thousand, the tags would be larger than a message.
    open: Vec<Option<usize>>,
    /// Line breaks that are due before the next text.
    gap: usize,
    /// A list marker was just written: what follows stands on its line.
    at_marker: bool,
    /// For each open list, the next number, or `None` for bullets.
    lists: Vec<Option<u64>>,
    quotes: usize,
    links: Vec<Target>,
    in_code_block: bool,
    table: Option<table::Table>,
}

/// An open link or image.
enum Target {
    /// It has a mark.
    Clickable,
    /// Its address is shown behind its text, which starts there.
    Shown { start: usize, address: String },
    /// Only its text is left.
    Text,
}

impl<'a> Writer<'a> {
    fn new(link: &'a dyn Fn(&str) -> bool) -> Self {
        Self {
            link,
            text: String::new(),
            marks: Vec::new(),
            open: Vec::new(),
            gap: 0,
            at_marker: false,
            lists: Vec::new(),
            quotes: 0,
            links: Vec::new(),
            in_code_block: false,
            table: None,
        }
    }

    fn event(&mut self, event: Event<'_>) {
        match event {
            Event::Start(tag) => self.start(tag),
            Event::End(tag) => self.end(tag),
            Event::Text(text) if self.in_code_block => self.raw(&text),
            Event::Text(text) | Event::Html(text) | Event::InlineHtml(text) => self.say(&text),
            Event::Code(code) => self.code(&code),
            Event::SoftBreak | Event::HardBreak => self.line_break(),
            Event::Rule => {
                self.block(2);
                self.say("———");
                self.block(2);
            }
            Event::TaskListMarker(done) => self.say(if done { "☑ " } else { "☐ " }),
            Event::InlineMath(text) | Event::DisplayMath(text) | Event::FootnoteReference(text) => {
                self.say(&text);
            }
        }
    }

    fn start(&mut self, tag: Tag<'_>) {
        match tag {
            Tag::Paragraph | Tag::HtmlBlock => self.block(2),
            Tag::Heading { .. } => {
                self.block(2);
                self.mark(Kind::Bold);
            }
            Tag::BlockQuote(_) => {
                self.block(2);
                self.quotes += 1;
                match self.quotes {
                    1 => self.mark(Kind::Quote),
                    // Telegram has no quotes in quotes.
                    _ => self.say("» "),
                }
                self.at_marker = true;
            }
            Tag::CodeBlock(kind) => {
                self.block(2);
                let language = match kind {
                    CodeBlockKind::Fenced(info) => language(&info),
                    CodeBlockKind::Indented => None,
                };
                self.flush(false);
                self.mark(Kind::Pre(language));
                self.in_code_block = true;
            }
            Tag::List(start) => {
                self.block(if self.lists.is_empty() { 2 } else { 1 });
                self.lists.push(start);
            }
            Tag::Item => self.item(),
            Tag::Emphasis => self.mark(Kind::Italic),
            Tag::Strong => self.mark(Kind::Bold),
            Tag::Strikethrough => self.mark(Kind::Strike),
            Tag::Link { dest_url, .. } | Tag::Image { dest_url, .. } => self.open_link(&dest_url),
            Tag::Table(alignment) => {
                self.block(2);
                self.table = Some(table::Table::new(&alignment));
            }
            Tag::TableHead | Tag::TableRow => {
                if let Some(table) = &mut self.table {
                    table.row();
                }
            }
            Tag::TableCell => {
                if let Some(table) = &mut self.table {
                    table.cell();
                }
            }
            _ => self.block(2),
        }
    }

    fn end(&mut self, tag: TagEnd) {
        match tag {
            TagEnd::Heading(_) => {
                self.unmark();
                self.block(2);
            }
            TagEnd::BlockQuote(_) => {
                self.quotes = self.quotes.saturating_sub(1);
                if self.quotes == 0 {
                    self.unmark();
                }
                self.at_marker = false;
                self.block(2);
            }
            TagEnd::CodeBlock => {
                self.in_code_block = false;
                let start = self.innermost().map_or(0, |mark| mark.range.start);
                if self.text.len() > start && self.text.ends_with('\n') {
                    self.text.pop();
                }
                self.unmark();
                self.block(2);
            }
            TagEnd::List(_) => {
                self.lists.pop();
                self.block(if self.lists.is_empty() { 2 } else { 1 });
            }
            TagEnd::Item => {
                self.at_marker = false;
                self.gap = 1;
            }
            TagEnd::Emphasis | TagEnd::Strong | TagEnd::Strikethrough => self.unmark(),
            TagEnd::Link | TagEnd::Image => self.close_link(),
            TagEnd::Table => {
                if let Some(table) = self.table.take() {
                    self.write_table(&table);
                }
            }
            TagEnd::TableHead | TagEnd::TableRow | TagEnd::TableCell => {}
            TagEnd::HtmlBlock => {
                if self.text.ends_with('\n') {
                    self.text.pop();
                }
                self.block(2);
            }
            _ => self.block(2),
        }
    }

    fn item(&mut self) {
        self.gap = self.gap.max(1);
        let depth = self.lists.len();
        let marker = match self.lists.last_mut() {
            Some(Some(number)) => {
                let marker = format!("{number}. ");
                *number = number.saturating_add(1);
                marker
            }
            _ if depth > 1 => "◦ ".to_owned(),
            _ => "• ".to_owned(),
        };
        if !self.at_marker {
            self.flush(false);
        }
        self.at_marker = false;
        self.text.push_str(&"  ".repeat(depth.saturating_sub(1).min(DEEPEST_LIST)));
        self.text.push_str(&marker);
        self.at_marker = true;
    }

    /// A block begins or ends: so many line breaks are due.
    fn block(&mut self, breaks: usize) {
        if !self.at_marker {
            self.gap = self.gap.max(if self.lists.is_empty() { breaks } else { 1 });
        }
    }

    /// Writes the line breaks that are due.
    fn flush(&mut self, indent: bool) {
        let gap = std::mem::take(&mut self.gap);
        self.at_marker = false;
        if gap > 0 && !self.text.is_empty() {
            self.text.extend(std::iter::repeat_n('\n', gap));
            if indent {
                self.text.push_str(&"  ".repeat(self.lists.len().min(DEEPEST_LIST)));
            }
        }
    }

    fn say(&mut self, text: &str) {
        if let Some(table) = &mut self.table {
            return table.say(text);
        }
        self.flush(true);
        self.raw(text);
    }

    fn raw(&mut self, text: &str) {
        self.text.extend(text.chars().filter(|c| shown(*c)));
    }

    fn line_break(&mut self) {
        match self.table.is_some() {
            true => self.say(" "),
            false => {
                self.gap = self.gap.max(1);
                self.at_marker = false;
            }
        }
    }

    fn code(&mut self, code: &str) {
        // Telegram allows no code in a link; the link is worth more.
        if self.table.is_some() || self.links.iter().any(|link| matches!(link, Target::Clickable)) {
            return self.say(code);
        }
        self.mark(Kind::Code);
        self.raw(code);
        self.unmark();
    }

    fn mark(&mut self, kind: Kind) {
        if self.table.is_some() {
            return;
        }
        self.flush(true);
        if self.open.iter().flatten().any(|at| self.marks[*at].kind == kind) {
            return self.open.push(None);
        }
        let at = self.text.len();
        self.open.push(Some(self.marks.len()));
        self.marks.push(Mark { range: at..at, kind });
    }

    fn innermost(&self) -> Option<&Mark> {
        self.open.last().copied().flatten().map(|at| &self.marks[at])
    }

    fn unmark(&mut self) {
        if self.table.is_some() {
            return;
        }
        if let Some(Some(at)) = self.open.pop() {
            self.marks[at].range.end = self.text.len();
        }
    }

    fn open_link(&mut self, address: &str) {
        let inside = self.links.iter().any(|link| matches!(link, Target::Clickable));
        let target = match defang::target(address, self.link) {
            _ if inside => Target::Text,
            defang::Target::Clickable if address.len() <= LONGEST_LINK && self.table.is_none() => {
                self.mark(Kind::Link(address.to_owned()));
                Target::Clickable
            }
            defang::Target::Shown(shown) if shown.chars().count() <= LONGEST_SHOWN => {
                Target::Shown { start: self.position(), address: shown }
            }
            defang::Target::Clickable if address.len() <= LONGEST_LINK => {
                Target::Shown { start: self.position(), address: address.to_owned() }
            }
            _ => Target::Text,
        };
        self.links.push(target);
    }

    fn close_link(&mut self) {
        match self.links.pop() {
            Some(Target::Clickable) => {
                if let Some(mark) = self.innermost().cloned()
                    && mark.range.start == self.text.len()
                    && let Kind::Link(address) = &mark.kind
                {
                    // An image without a description, or a link without text.
                    self.raw(address);
                }
                self.unmark();
            }
            Some(Target::Shown { start, address }) => {
                let text = match &self.table {
                    Some(table) => table.text(start),
                    None => self.text.get(start..).unwrap_or_default(),
                };
                let plain = address.replace("[.]", ".").replacen("hxxp", "http", 1);
                let said = text.trim();
                if said.is_empty() {
                    self.say(&address);
                } else if said != address && said != plain {
                    self.say(&format!(" ({address})"));
                }
            }
            _ => {}
        }
    }

    /// Where the next text will stand, in the text or in the table's cell.
    fn position(&mut self) -> usize {
        match &self.table {
            Some(table) => table.text(0).len(),
            None => {
                self.flush(true);
                self.text.len()
            }
        }
    }

    fn write_table(&mut self, table: &table::Table) {
        let lines = table.lines();
        self.flush(false);
        self.mark(Kind::Pre(None));
        self.raw(&lines);
        self.unmark();
        self.block(2);
    }

    fn finish(mut self) -> Rich {
        while !self.open.is_empty() {
            self.unmark();
        }
        let length = self.text.trim_end().len();
        self.text.truncate(length);
        for mark in &mut self.marks {
            mark.range.end = mark.range.end.min(length);
        }
        self.marks.retain(|mark| mark.range.start < mark.range.end);
        defang::words(Rich { text: self.text, marks: self.marks }, self.link)
    }
}

/// The first word behind the fence, if it can be a language's name.
fn language(info: &str) -> Option<String> {
    let word = info.split([' ', ',', '{', '\t']).next().unwrap_or_default();
    let good = (1..=32).contains(&word.len())
        && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"_+#.-".contains(&b));
    good.then(|| word.to_owned())
}

#[cfg(test)]
mod tests;
