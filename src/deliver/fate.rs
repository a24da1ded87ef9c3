//! What became of one recipient in one attempt. Pure.
//!
//! **Invariant:** only what upstream said about this mail, its sender or its recipient at MAIL, RCPT, DATA or the dot
//! can be a refusal. What it said to *us* (banner, EHLO, TLS, AUTH, protocol errors, "log in first") never is.

use std::fmt;

use tokio::time::Instant;

use crate::smtp::Reply;
use crate::smtp::reply_reader::Malformed;

/// Where in the dialogue something happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Stage {
    /// Before a connection stood.
    Connect,
    /// The banner.
    Greeting,
    /// EHLO or HELO.
    Ehlo,
    /// STARTTLS and the handshake.
    Tls,
    /// AUTH.
    Auth,
    /// MAIL FROM.
    Mail,
    /// RCPT TO.
    Rcpt,
    /// DATA and the octets before the final dot.
    Data,
    /// The final dot has left.
    Dot,
}

impl Stage {
    /// For logs and records.
    pub fn as_str(self) -> &'static str {
        match self {
            Stage::Connect => "connect",
            Stage::Greeting => "greeting",
            Stage::Ehlo => "ehlo",
            Stage::Tls => "tls",
            Stage::Auth => "auth",
            Stage::Mail => "mail",
            Stage::Rcpt => "rcpt",
            Stage::Data => "data",
            Stage::Dot => "dot",
        }
    }
}

/// What became of one recipient.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Fate {
    /// Upstream answered 2yz to the dot.
    Accepted {
        /// That answer.
        reply: Reply,
        /// When it came: readers are judged by how soon after it they come.
        at: Instant,
    },
    /// Refused for good: MAIL, RCPT, DATA or the dot, and a 5yz that is about the mail.
    Refused {
        /// Which of the four.
        stage: Stage,
        /// What upstream said.
        reply: Reply,
    },
    /// Not delivered this time; trying again later is right.
    Deferred {
        /// How far it came.
        stage: Stage,
        /// What stood in the way.
        why: Why,
    },
    /// The dot has left and no answer that means anything came back: perhaps delivered.
    Unknown {
        /// What came instead.
        why: Why,
    },
}

/// What stood in the way, when it is no refusal.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Why {
    /// Upstream said this: 4yz, or a 5yz that is about us.
    Reply(Reply),
    /// A reply that has no meaning at this place (3yz to MAIL, 250 to DATA).
    OutOfPlace(Reply),
    /// No reply at all.
    Malformed(Malformed),
    /// Upstream spoke before it was asked.
    OutOfTurn,
    /// The connection ended or failed.
    Lost(String),
    /// No answer in time.
    TimedOut,
    /// The handshake failed, or the certificate is not one we accept.
    Tls(String),
    /// Octets stood behind the answer to STARTTLS: someone is between us (RFC 3207 §5).
    Injected,
    /// Upstream does not offer what the configuration demands.
    NotOffered(&'static str),
    /// There is no access token to log in with.
    NoToken(String),
    /// The login would have gone over a connection that others can read.
    NotSecret,
    /// All connections were busy until the deadline.
    Busy,
    /// Upstream has been unreachable and is left alone for a moment. Nothing was tried.
    Down,
    /// The caller withdrew the mail before its dot: nothing was delivered.
    Withdrawn,
    /// The envelope holds octets that cannot stand in a command.
    Unsendable,
    /// There is no account it may leave through: the words say why. Nothing was tried.
    Held(&'static str),
}

/// Something that kept a connection from being ready: never about a mail.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// Where.
    pub stage: Stage,
    /// What.
    pub why: Why,
}

impl Fate {
    /// What a reply that is not positive means for the recipients it is about.
    pub fn of_reply(stage: Stage, reply: Reply) -> Fate {
        let of_mail = stage >= Stage::Mail;
        if of_mail && reply.is_permanent() && !is_about_us(reply.code) {
            Fate::Refused { stage, reply }
        } else if reply.is_transient() || reply.is_permanent() {
            Fate::Deferred { stage, why: Why::Reply(reply) }
        } else if stage == Stage::Dot {
            Fate::Unknown { why: Why::OutOfPlace(reply) }
        } else {
            Fate::Deferred { stage, why: Why::OutOfPlace(reply) }
        }
    }

    /// What something that is no reply means: after the dot nobody knows.
    pub fn of_failure(stage: Stage, why: Why) -> Fate {
        if stage == Stage::Dot { Fate::Unknown { why } } else { Fate::Deferred { stage, why } }
    }

    /// When upstream took the mail, in Unix milliseconds, said at `now`, which is `now_ms` there; `None`: it did not.
    pub fn accepted_at_ms(&self, now: Instant, now_ms: i64) -> Option<i64> {
        let Fate::Accepted { at, .. } = self else { return None };
        let ago_ms = i64::try_from(now.saturating_duration_since(*at).as_millis()).unwrap_or(i64::MAX);
        Some(now_ms.saturating_sub(ago_ms))
    }

    /// Upstream has the mail.
    pub fn is_accepted(&self) -> bool {
        matches!(self, Fate::Accepted { .. })
    }

    /// Whether upstream was not asked at all: nothing is known of this mail that was not known before.
    pub fn is_untried(&self) -> bool {
        matches!(self, Fate::Deferred { why: Why::Busy | Why::Down, .. })
    }

    /// Whether the cause is ours to mend (the configuration, the login, the connection), so that an operator should
    /// hear of it.
    pub fn is_our_trouble(&self) -> bool {
        match self {
            Fate::Accepted { .. } | Fate::Refused { .. } => false,
            Fate::Unknown { why } => is_fault(why),
            Fate::Deferred { stage, why } if *stage >= Stage::Mail => is_fault(why),
            // A full pool is load, not a fault.
            Fate::Deferred { why, .. } => !matches!(why, Why::Busy | Why::Withdrawn),
        }
    }
}

/// Whether something in a transaction points to us or to a peer that is no mail server, rather than to the day's
/// weather.
fn is_fault(why: &Why) -> bool {
    match why {
        Why::Reply(reply) => is_about_us(reply.code),
        Why::OutOfPlace(_) | Why::Malformed(_) | Why::OutOfTurn | Why::Unsendable => true,
        Why::Tls(_) | Why::Injected | Why::NotOffered(_) | Why::NotSecret | Why::NoToken(_) | Why::Held(_) => true,
        Why::Lost(_) | Why::TimedOut | Why::Busy | Why::Down | Why::Withdrawn => false,
    }
}

/// Replies that say we did something wrong or did not log in. Handing a 530 or 535 to the sender would make the mail
/// client ask its user for a password that is not the one in question.
fn is_about_us(code: u16) -> bool {
    matches!(code, 500 | 502 | 503 | 530 | 534 | 535 | 538)
}

impl fmt::Display for Fate {
    /// One line for logs and records: upstream's words, or ours.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fate::Accepted { reply, .. } | Fate::Refused { reply, .. } => show(f, reply),
            Fate::Deferred { stage, why } => write!(f, "{} at {}", why, stage.as_str()),
            Fate::Unknown { why } => write!(f, "perhaps delivered: {why} after the final dot"),
        }
    }
}

impl fmt::Display for Trouble {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} at {}", self.why, self.stage.as_str())
    }
}

impl std::error::Error for Trouble {}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Why::Reply(reply) => show(f, reply),
            Why::OutOfPlace(reply) => {
                f.write_str("a reply out of place, ")?;
                show(f, reply)
            }
            Why::Malformed(malformed) => malformed.fmt(f),
            Why::OutOfTurn => f.write_str("a reply that nobody asked for"),
            Why::Lost(how) => write!(f, "connection lost ({how})"),
            Why::TimedOut => f.write_str("no answer in time"),
            Why::Tls(how) => write!(f, "TLS failed ({how})"),
            Why::Injected => f.write_str("plaintext injected behind the answer to STARTTLS"),
            Why::NotOffered(what) => write!(f, "{what} is not offered"),
            Why::NoToken(why) => write!(f, "no access token: {why}"),
            Why::NotSecret => f.write_str("the login would have gone over an unprotected connection"),
            Why::Busy => f.write_str("all connections busy"),
            Why::Down => f.write_str("not tried: upstream has been unreachable"),
            Why::Withdrawn => f.write_str("withdrawn before the final dot"),
            Why::Held(why) => write!(f, "held: {why}"),
            Why::Unsendable => f.write_str("an address that cannot stand in a command"),
        }
    }
}

fn show(f: &mut fmt::Formatter<'_>, reply: &Reply) -> fmt::Result {
    write!(f, "{}", reply.code)?;
    if let Some(enhanced) = reply.enhanced {
        write!(f, " {}.{}.{}", enhanced.0, enhanced.1, enhanced.2)?;
    }
    for line in reply.lines.iter().filter(|line| !line.is_empty()) {
        write!(f, " {line}")?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reply(code: u16) -> Reply {
        Reply { code, enhanced: None, lines: vec!["words".into()] }
    }

    #[test]
    fn what_a_reply_means_where() {
        use Stage::*;
        let name = |fate: &Fate| match fate {
            Fate::Accepted { .. } => "accepted",
            Fate::Refused { .. } => "refused",
            Fate::Deferred { .. } => "deferred",
            Fate::Unknown { .. } => "unknown",
        };
        // (stages, codes, fate, whether an operator hears of it)
        let table: &[(&[Stage], &[u16], &str, bool)] = &[
            // about the mail: upstream's word passes
            (&[Mail, Rcpt, Data, Dot], &[550, 551, 552, 553, 554, 521, 501, 555, 571], "refused", false),
            (&[Mail, Rcpt, Data, Dot], &[421, 450, 451, 452, 455], "deferred", false),
            // about us: a protocol error, "log in first"
            (&[Mail, Rcpt, Data, Dot], &[500, 502, 503, 530, 534, 535, 538], "deferred", true),
            // what is said before MAIL is never a refusal
            (&[Greeting, Ehlo, Tls, Auth], &[421, 450, 454, 500, 535, 550, 554], "deferred", true),
            // a reply out of place is no refusal, and after the dot it is no success either
            (&[Mail, Rcpt, Data], &[250, 334, 354], "deferred", true),
            (&[Dot], &[334, 354], "unknown", true),
        ];
        for (stages, codes, fate, ours) in table {
            for stage in *stages {
                for code in *codes {
                    let got = Fate::of_reply(*stage, reply(*code));
                    assert_eq!((name(&got), got.is_our_trouble()), (*fate, *ours), "{code} at {stage:?}");
                }
            }
        }
    }

    #[test]
    fn what_a_failure_means_where() {
        let lost = || Why::Lost("reset".into());
        assert_eq!(Fate::of_failure(Stage::Data, lost()), Fate::Deferred { stage: Stage::Data, why: lost() });
        assert_eq!(Fate::of_failure(Stage::Dot, lost()), Fate::Unknown { why: lost() });
        assert!(Fate::of_failure(Stage::Connect, Why::TimedOut).is_our_trouble());
        assert!(!Fate::of_failure(Stage::Connect, Why::Busy).is_our_trouble());
        assert!(!Fate::of_failure(Stage::Rcpt, Why::TimedOut).is_our_trouble());
    }

    /// Told as late as may be, it is the same moment.
    #[test]
    fn when_upstream_took_it() {
        let at = Instant::now();
        let accepted = Fate::Accepted { reply: reply(250), at };
        let later = |ms| at + std::time::Duration::from_millis(ms);
        assert_eq!(accepted.accepted_at_ms(later(0), 50_000), Some(50_000));
        assert_eq!(accepted.accepted_at_ms(later(19_000), 69_000), Some(50_000));
        assert_eq!(Fate::of_failure(Stage::Dot, Why::TimedOut).accepted_at_ms(later(0), 50_000), None);
    }

    #[test]
    fn words() {
        let refused = Fate::of_reply(
            Stage::Rcpt,
            Reply {
                code: 550,
                enhanced: Some(crate::smtp::Enhanced(5, 1, 1)),
                lines: vec!["no".into(), String::new(), "such".into()],
            },
        );
        assert_eq!(refused.to_string(), "550 5.1.1 no such");
        let deferred = Fate::of_failure(Stage::Auth, Why::NotOffered("STARTTLS"));
        assert_eq!(deferred.to_string(), "STARTTLS is not offered at auth");
    }
}
