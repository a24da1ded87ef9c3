//! What is remembered of the attempts since the start: when upstream last took a mail, and what last stood in the way.

use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::Fate;

/// How upstream has done lately.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Standing {
    /// How long ago it took a mail; `None` when it took none since the start.
    pub accepted_ago: Option<Duration>,
    /// How long ago something last stood in the way, and what; never a recipient. For the server's administrator.
    pub trouble: Option<(Duration, String)>,
    /// It is known to be unreachable and not tried just now.
    pub down: bool,
}

impl Standing {
    /// The last attempt that said anything was trouble.
    pub fn is_troubled(&self) -> bool {
        match (&self.trouble, self.accepted_ago) {
            (Some((trouble, _)), Some(accepted)) => *trouble < accepted,
            (Some(_), None) => true,
            (None, _) => false,
        }
    }
}

/// The memory, shared by everyone who delivers to one upstream.
#[derive(Debug, Default)]
pub struct Memory(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    accepted: Option<Instant>,
    trouble: Option<(Instant, String)>,
}

impl Memory {
    /// Learns from one attempt. A refusal is upstream's word about one mail and no trouble; what stands between us and it is.
    pub(super) fn learn(&self, fates: &[Fate]) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if fates.iter().any(|fate| matches!(fate, Fate::Accepted { .. })) {
            kept.accepted = Some(Instant::now());
        }
        let trouble = fates.iter().find(|fate| match fate {
            // At RCPT and later a reply is about a recipient, and may name one.
            Fate::Deferred { stage, .. } => *stage <= super::Stage::Mail,
            Fate::Unknown { .. } => true,
            Fate::Accepted { .. } | Fate::Refused { .. } => false,
        });
        if let Some(trouble) = trouble {
            kept.trouble = Some((Instant::now(), trouble.to_string()));
        }
    }

    pub(super) fn standing(&self, down: bool) -> Standing {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        Standing {
            accepted_ago: kept.accepted.map(|at| at.elapsed()),
            trouble: kept.trouble.as_ref().map(|(at, words)| (at.elapsed(), words.clone())),
            down,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Stage, Why};
    use super::*;
    use crate::smtp::reply::{Enhanced, Reply};

    #[tokio::test(start_paused = true)]
    async fn the_last_of_each_is_kept_and_no_recipient_with_it() {
        let memory = Memory::default();
        assert_eq!(memory.standing(false), Standing::default());
        let reply = Reply::new(450, Enhanced(4, 2, 0), "ann@x.test is away".to_owned());
        let at_rcpt = Fate::Deferred { stage: Stage::Rcpt, why: Why::Reply(reply.clone()) };
        memory.learn(&[at_rcpt, Fate::Refused { stage: Stage::Rcpt, reply: reply.clone() }]);
        assert_eq!(memory.standing(false), Standing::default());
        memory.learn(&[Fate::Deferred { stage: Stage::Connect, why: Why::TimedOut }]);
        tokio::time::advance(Duration::from_secs(9)).await;
        assert!(memory.standing(true).is_troubled());
        assert_eq!(
            memory.standing(true).trouble,
            Some((Duration::from_secs(9), "no answer in time at connect".into()))
        );
        memory.learn(&[Fate::Accepted { reply, at: Instant::now() }]);
        assert!(!memory.standing(false).is_troubled());
        assert_eq!(memory.standing(false).accepted_ago, Some(Duration::ZERO));
    }
}
