//! docs/CLIENTS.md as a page: how to set up each program, with the values of this server in place of the examples.
//!
//! The document is the one source; what it says of programs is read from it. Understood is what it uses: headings, items
//! that begin with a name in bold, paragraphs, code blocks, `code`, **bold**, *emphasis*.

/// The document.
const DOCUMENT: &str = include_str!("../../docs/CLIENTS.md");
/// The sections that tell of programs.
const SECTIONS: [&str; 3] = ["Mail programs", "Servers as smarthost", "Programs"];
/// The logins of its examples.
const LOGINS: [&str; 4] = ["ann@example.com", "app@example.com", "postfix@example.com", "exim@example.com"];

/// What stands in place of the examples; `None` leaves one as it is.
#[derive(Debug, Clone, Default)]
pub(super) struct Values {
    /// For `relay.example.com`.
    pub(super) host: Option<String>,
    /// For 587.
    pub(super) starttls: Option<u16>,
    /// For 465.
    pub(super) implicit: Option<u16>,
    /// For 2525.
    pub(super) trusted: Option<u16>,
    /// For the logins.
    pub(super) login: Option<String>,
}

/// Programs of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Section {
    pub(super) title: String,
    /// Before the first program.
    pub(super) intro: Vec<Block>,
    pub(super) programs: Vec<Program>,
}

/// One program.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Program {
    pub(super) name: String,
    pub(super) blocks: Vec<Block>,
}

/// A piece of what is said.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Block {
    /// Words.
    Words(Vec<Span>),
    /// To be copied.
    Code(String),
}

/// Words of one kind.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Span {
    Plain(String),
    Strong(String),
    Emphasis(String),
    Code(String),
}

/// The guide with these values.
pub(super) fn guide(values: &Values) -> Vec<Section> {
    let sections = DOCUMENT.split("\n## ").filter_map(|text| text.split_once('\n'));
    sections.filter(|(title, _)| SECTIONS.contains(title)).map(|(title, text)| section(title, text, values)).collect()
}

fn section(title: &str, text: &str, values: &Values) -> Section {
    let mut section = Section { title: title.to_owned(), intro: Vec::new(), programs: Vec::new() };
    // Odd pieces stand between two fences.
    for (number, piece) in text.split("```").enumerate() {
        if number % 2 == 1 {
            let code = piece.split_once('\n').map_or(piece, |(_language, code)| code);
            section.add(Block::Code(filled(code.trim_end(), values)));
            continue;
        }
        for paragraph in piece.split("\n\n").map(str::trim).filter(|paragraph| !paragraph.is_empty()) {
            let paragraph = paragraph.replace('\n', " ");
            let named = paragraph.strip_prefix("**").and_then(|rest| rest.split_once("**"));
            let words = match named {
                Some((name, rest)) => {
                    let name = name.trim_end_matches(['.', ',', ':']).to_owned();
                    section.programs.push(Program { name, blocks: Vec::new() });
                    rest.trim_start_matches(['.', ':', ' ']).to_owned()
                }
                None => paragraph,
            };
            if !words.is_empty() {
                section.add(Block::Words(spans(&words, values)));
            }
        }
    }
    section
}

impl Section {
    fn add(&mut self, block: Block) {
        match self.programs.last_mut() {
            Some(program) => program.blocks.push(block),
            None => self.intro.push(block),
        }
    }
}

/// What a mark makes of the text in it.
type MakeSpan = fn(String) -> Span;

/// Bold, emphasis and code told apart; a mark without its other half is itself.
fn spans(text: &str, values: &Values) -> Vec<Span> {
    const MARKS: [(&str, MakeSpan); 3] = [("`", Span::Code), ("**", Span::Strong), ("*", Span::Emphasis)];
    let mut found = Vec::new();
    let (mut plain, mut rest) = (String::new(), text);
    'text: while let Some(first) = rest.chars().next() {
        for (mark, of) in MARKS {
            if let Some((inner, after)) = rest.strip_prefix(mark).and_then(|behind| behind.split_once(mark)) {
                if !plain.is_empty() {
                    found.push(Span::Plain(filled(&std::mem::take(&mut plain), values)));
                }
                found.push(of(filled(inner, values)));
                rest = after;
                continue 'text;
            }
        }
        plain.push(first);
        rest = rest.get(first.len_utf8()..).unwrap_or_default();
    }
    if !plain.is_empty() {
        found.push(Span::Plain(filled(&plain, values)));
    }
    found
}

/// The examples replaced in one walk, so that a value never becomes another's example.
fn filled(text: &str, values: &Values) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(first) = rest.chars().next() {
        let behind_digit = out.chars().next_back().is_some_and(|c| c.is_ascii_digit());
        match example(rest, values).filter(|_| !behind_digit) {
            Some((example, value)) => {
                out.push_str(&value);
                rest = rest.get(example.len()..).unwrap_or_default();
            }
            None => {
                out.push(first);
                rest = rest.get(first.len_utf8()..).unwrap_or_default();
            }
        }
    }
    out
}

/// The example a text begins with, and what stands in its place.
fn example(text: &str, values: &Values) -> Option<(&'static str, String)> {
    let ports = [("587", values.starttls), ("465", values.implicit), ("2525", values.trusted)];
    let whole =
        |port: &str| text.strip_prefix(port).is_some_and(|rest| !rest.starts_with(|next: char| next.is_ascii_digit()));
    let port =
        ports.into_iter().find(|(port, _)| whole(port)).and_then(|(port, value)| Some((port, value?.to_string())));
    let host = || Some("relay.example.com").filter(|host| text.starts_with(host)).zip(values.host.clone());
    let login = || LOGINS.into_iter().find(|login| text.starts_with(login)).zip(values.login.clone());
    port.or_else(host).or_else(login)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values() -> Values {
        Values {
            host: Some("mail.acme.example".into()),
            starttls: Some(5870),
            implicit: None,
            trusted: Some(26),
            login: Some("ann*587@acme.example".into()),
        }
    }

    /// Every program that the page promises is in the document, and no example is left where there is a value.
    #[test]
    fn the_document_is_read_and_filled() {
        let guide = guide(&values());
        assert_eq!(guide.iter().map(|section| section.title.as_str()).collect::<Vec<_>>(), SECTIONS);
        let programs: Vec<&str> =
            guide.iter().flat_map(|section| &section.programs).map(|program| program.name.as_str()).collect();
        for name in [
            "Thunderbird",
            "Outlook",
            "Apple Mail",
            "Gmail",
            "Postfix",
            "Exim",
            "msmtp",
            "Nodemailer",
            "Django",
            "Laravel",
            "Rails",
            "Spring",
        ] {
            assert!(programs.iter().any(|program| program.contains(name)), "{name}: {programs:?}");
        }
        let all = format!("{guide:?}");
        for example in ["relay.example.com", "app@example.com", "postfix@example.com", "exim@example.com", "```", "**"]
        {
            assert!(!all.contains(example), "{example} is left");
        }
        assert!(all.contains("465"), "what this server has no value for stays");
        assert!(guide.iter().flat_map(|s| &s.programs).all(|program| !program.blocks.is_empty()), "{programs:?}");
    }

    #[test]
    fn texts_are_filled_in_one_walk() {
        for (text, expected) in [
            ("host relay.example.com:587", "host mail.acme.example:5870"),
            ("127.0.0.1:2525", "127.0.0.1:26"),
            ("port 15870, 587x, 5871, 465", "port 15870, 5870x, 5871, 465"),
            ("^app@example.com^", "^ann*587@acme.example^"),
            ("é", "é"),
        ] {
            assert_eq!(filled(text, &values()), expected);
        }
    }

    #[test]
    fn marks_are_told_apart() {
        use Span::{Code, Emphasis, Plain, Strong};
        let read = spans("a **b**, *c* `d*e` 2 * 3", &Values::default());
        let expected = vec![
            Plain("a ".into()),
            Strong("b".into()),
            Plain(", ".into()),
            Emphasis("c".into()),
            Plain(" ".into()),
            Code("d*e".into()),
            Plain(" 2 * 3".into()),
        ];
        assert_eq!(read, expected);
    }
}
