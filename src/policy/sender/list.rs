//! Mailboxes and groups of a From, Sender or Resent field (RFC 5322 §3.4), read strictly: what is not plainly a list is
//! nothing. It leaves to others whose addresses they are.

/// What a field holds.
#[derive(Debug, Default)]
pub(super) struct List {
    /// The addresses of its mailboxes, as they stand.
    pub(super) mailboxes: Vec<Vec<u8>>,
    /// Names, of mailboxes and groups, with an `@` that no quotes hold: no name by the grammar, and an address to readers
    /// that are kinder than it.
    pub(super) names: Vec<Vec<u8>>,
}

/// Reads a list of mailboxes and groups (RFC 5322 §3.4); `None` where it is not plainly one.
pub(super) fn read(value: &[u8]) -> Option<List> {
    let mut reader = Reader::default();
    let mut rest = value;
    while let Some((first, tail)) = rest.split_first() {
        rest = match first {
            b'"' => reader.quoted(tail)?,
            b'(' => comment(tail)?,
            b'<' => reader.angle(tail)?,
            b',' | b';' => {
                reader.end()?;
                tail
            }
            // The name of a group ends here; its members follow.
            b':' => {
                reader.name();
                tail
            }
            b'>' | b')' | b'\\' => return None,
            octet if octet.is_ascii_control() && !octet.is_ascii_whitespace() => return None,
            octet => {
                reader.has_at |= *octet == b'@';
                reader.outside.push(*octet);
                tail
            }
        };
    }
    reader.end()?;
    Some(reader.list)
}

#[derive(Default)]
struct Reader {
    list: List,
    /// Text outside angle brackets: a name, or an address without them.
    outside: Vec<u8>,
    /// Whether that text holds an `@` outside quotes.
    has_at: bool,
    angle: Option<Vec<u8>>,
}

impl Reader {
    /// A quoted string, after its first quote; kept with its quotes.
    fn quoted<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let len = quoted_len(text)?;
        self.outside.push(b'"');
        self.outside.extend_from_slice(text.get(..len)?);
        text.get(len..)
    }

    /// An address in angle brackets, after the first; a second one, or a source route, is nothing plain.
    fn angle<'a>(&mut self, text: &'a [u8]) -> Option<&'a [u8]> {
        let mut at = 0;
        loop {
            match text.get(at)? {
                b'>' => break,
                b'"' => at += 1 + quoted_len(text.get(at + 1..)?)?,
                b'<' | b'(' | b',' | b';' => return None,
                _ => at += 1,
            }
        }
        let inside = text.get(..at)?.trim_ascii().to_vec();
        if inside.is_empty() || self.angle.replace(inside).is_some() {
            return None;
        }
        self.name();
        text.get(at + 1..)
    }

    /// The text so far was a name.
    fn name(&mut self) {
        let name = std::mem::take(&mut self.outside);
        if std::mem::take(&mut self.has_at) {
            self.list.names.push(name.trim_ascii().to_vec());
        }
    }

    /// The end of one mailbox.
    fn end(&mut self) -> Option<()> {
        let outside = std::mem::take(&mut self.outside);
        self.has_at = false;
        let outside = outside.trim_ascii();
        match (self.angle.take(), outside.is_empty()) {
            (Some(address), true) => self.list.mailboxes.push(address),
            (Some(_), false) => return None,
            (None, false) => self.list.mailboxes.push(outside.to_vec()),
            (None, true) => {}
        }
        Some(())
    }
}

/// Octets up to and with the closing quote, after the first.
pub(super) fn quoted_len(text: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        match text.get(at)? {
            b'"' => return Some(at + 1),
            b'\\' => at += 2,
            _ => at += 1,
        }
    }
}

/// What follows a comment, after its first parenthesis.
fn comment(text: &[u8]) -> Option<&[u8]> {
    let (mut at, mut depth) = (0, 1usize);
    while depth > 0 {
        match text.get(at)? {
            b'(' => depth += 1,
            b')' => depth -= 1,
            b'\\' => at += 1,
            _ => {}
        }
        at += 1;
    }
    text.get(at..)
}
