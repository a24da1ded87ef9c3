//! The SMTP session: any octets, cut anywhere, get bounded and well-formed replies, one a command; a mail is handed on for
//! an end mark only, and holds CRLF line ends only.
#![no_main]

use std::sync::Arc;

use libfuzzer_sys::fuzz_target;
use waxseal::smtp::data::BareNewlines;
use waxseal::smtp::limits::SASL_LINE_BYTES_MAX;
use waxseal::smtp::session::{Action, Facts, Input, LoginAnswer, Options, Session, Tls};
use waxseal::smtp::{Enhanced, Reply};

/// Everything the session said and handed on.
#[derive(Debug, Default, PartialEq, Eq)]
struct Seen {
    replies: Vec<Vec<u8>>,
    mails: Vec<(usize, Vec<u8>)>,
    closed: bool,
    lines_taken: u64,
}

fuzz_target!(|octets: &[u8]| {
    let [how, who, octets @ ..] = octets else { return };
    let lines = || octets.split_inclusive(|octet| *octet == b'\n');
    let by_line = run(*how, *who, lines());
    // A line that looks like TLS is told apart before its end.
    if octets.windows(2).all(|two| two != b"\x16\x03") {
        let piece = usize::from(*how >> 5) + 1;
        assert_eq!(run(*how, *who, lines().flat_map(|line| line.chunks(piece))), by_line);
    }
    check(octets, &by_line);
    check(octets, &run(*how, *who, [octets].into_iter()));
});

/// What the session is told of itself by the first octet, and of its client by the second.
fn options(how: u8, who: u8) -> Options {
    let mut options = Options::new("relay.example");
    options.bare_newlines = if how & 1 == 0 { BareNewlines::Normalize } else { BareNewlines::Reject };
    options.dsn = how & 2 == 0;
    options.bearer_logins = who & 4 != 0;
    if how & 4 == 0 {
        options.message_bytes_max = 100;
        options.recipients_max = 3;
        options.line_bytes_max = 80;
        options.discard_bytes_max = 100;
        options.command_errors_max = 50;
    }
    options
}

fn run<'a>(how: u8, who: u8, pieces: impl Iterator<Item = &'a [u8]>) -> Seen {
    let options = Arc::new(options(how, who));
    let trusted = (how & 8 == 0).then_some(());
    let tls = match (who & 2 != 0, how & 16 != 0) {
        (true, _) => Tls::Active,
        (false, true) => Tls::Available,
        (false, false) => Tls::Unavailable,
    };
    let is_local = who & 1 == 0;
    let mut session = Session::new(Arc::clone(&options), Facts::new(is_local, tls, who & 8 == 0, trusted));
    let mut seen = Seen::default();
    pump(&mut session, Input::Continue, &mut seen);
    for piece in pieces {
        if seen.closed {
            break;
        }
        pump(&mut session, Input::Bytes(piece), &mut seen);
        // AUTH's lines may be longer than others (RFC 4954 §4).
        assert!(session.held_bytes() <= options.line_bytes_max.max(SASL_LINE_BYTES_MAX) + piece.len());
        assert!(session.body_bytes() <= options.message_bytes_max);
    }
    seen.lines_taken = session.lines_taken();
    seen
}

fn pump(session: &mut Session<()>, input: Input<'_, ()>, seen: &mut Seen) {
    let mut action = session.step(input);
    loop {
        let answer = match action {
            Action::Read => return,
            Action::Reply(reply) => {
                seen.replies.push(reply.to_bytes());
                Input::Continue
            }
            Action::StartTls(reply) => {
                seen.replies.push(reply.to_bytes());
                Input::TlsStarted
            }
            Action::CheckLogin(credentials) => Input::Login(match credentials.password.len() % 3 {
                0 => LoginAnswer::Refused,
                1 => LoginAnswer::Welcome(()),
                _ => LoginAnswer::Unavailable,
            }),
            Action::CheckSender((), path) => Input::Sender(match format!("{path:?}").len() % 5 {
                0 => Err(Reply::new(553, Enhanced(5, 7, 1), "not yours")),
                _ => Ok(()),
            }),
            Action::MakeRoom(declared) => Input::Room(declared != Some(7)),
            Action::Deliver(incoming) => {
                assert!(!incoming.transaction.recipients.is_empty());
                let reply = match incoming.raw.len() % 7 {
                    0 => Reply::new(421, Enhanced(4, 3, 2), "closing"),
                    1 => Reply::new(554, Enhanced(5, 0, 0), "no"),
                    _ => Reply::accepted("1"),
                };
                seen.mails.push((incoming.transaction.recipients.len(), incoming.raw.to_vec()));
                Input::Delivered(reply)
            }
            Action::Close(reply) => {
                seen.replies.extend(reply.map(|reply| reply.to_bytes()));
                seen.closed = true;
                return;
            }
        };
        action = session.step(answer);
    }
}

fn check(octets: &[u8], seen: &Seen) {
    let newlines = octets.iter().filter(|octet| **octet == b'\n').count();
    // The banner, one for each line, one for the end of a mail, which has a line of its own, and one to close.
    assert!(seen.replies.len() <= newlines + 2);
    assert!(seen.closed || seen.replies.len() as u64 > seen.lines_taken, "a command without a reply");
    for line in seen.replies.concat().split_inclusive(|octet| *octet == b'\n') {
        assert!(line.len() <= 512 && line.ends_with(b"\r\n"));
        assert!(line[..line.len() - 2].iter().all(|octet| (0x20..0x7f).contains(octet)));
        assert!(line[..3].iter().all(u8::is_ascii_digit));
    }
    let marks = octets.windows(5).filter(|five| *five == b"\r\n.\r\n").count();
    assert!(seen.mails.len() <= marks, "a mail without an end mark");
    for (recipients, raw) in &seen.mails {
        assert!(*recipients <= 100);
        let crlf = raw.windows(2).filter(|two| *two == b"\r\n").count();
        assert_eq!(raw.iter().filter(|octet| matches!(octet, b'\r' | b'\n')).count(), 2 * crlf);
    }
}
