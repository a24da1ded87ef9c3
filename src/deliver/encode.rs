//! A copy that can leave in two forms: as it is, or in seven bits for an upstream without 8BITMIME (RFC 6152 §3).
//!
//! **Invariant:** the seven-bit form is sent only where upstream does not take the copy as it is and the conversion loses
//! nothing; a copy that can leave in neither form is refused for good with the reason, and nothing is sent.

use tokio::task::spawn_blocking;

use super::courier::Courier;
use super::outbound::{BodySource, Deadlines, Facts, Outbound};
use super::{CannotCarry, Fate, Stage};
use crate::message::downgrade::{Stuck, to_seven_bit};
use crate::message::{Body, Envelope, tree};
use crate::smtp::reply::{Enhanced, Reply};

/// One copy and the recipients it is for.
pub struct TwoForms<F> {
    /// Who sends to whom.
    pub envelope: Envelope,
    /// Every body that may be asked for; the first is the one the facts are told of.
    pub bodies: Vec<Body>,
    /// Makes what upstream's 354 asks for out of these bodies, or of the same in seven bits. Called once an attempt.
    pub source: F,
}

impl<F: Fn(Vec<Body>) -> BodySource> TwoForms<F> {
    fn outbound(&self, bodies: Vec<Body>) -> Outbound {
        let facts = facts(&bodies);
        Outbound { envelope: self.envelope.clone(), facts, body: (self.source)(bodies) }
    }
}

impl Courier {
    /// One attempt as [`Courier::deliver`] makes it; where upstream takes no 8-bit content, one with the content encoded.
    ///
    /// # Errors
    /// [`CannotCarry`], but never [`CannotCarry::EightBit`]: that ends in a conversion or in a refusal for each recipient.
    ///
    /// # Cancel safety
    /// None: run it in a task that owns it.
    pub async fn deliver_in_either<F: Fn(Vec<Body>) -> BodySource>(
        &self,
        copy: TwoForms<F>,
        deadlines: Deadlines,
    ) -> Result<Vec<Fate>, CannotCarry> {
        let mut encoded = None;
        // What upstream said last saves an attempt, and its place in the pace, that could only fail.
        if facts(&copy.bodies).eight_bit && !self.takes_eight_bit() {
            let bodies = in_seven_bits(copy.bodies.clone(), *self.structure()).await;
            match bodies {
                Ok(bodies) => return self.deliver(copy.outbound(bodies), deadlines).await,
                Err(stuck) => encoded = Some(Err(stuck)),
            }
        }
        match self.deliver(copy.outbound(copy.bodies.clone()), deadlines).await {
            Err(CannotCarry::EightBit) => {}
            other => return other,
        }
        let encoded = match encoded {
            Some(known) => known,
            None => in_seven_bits(copy.bodies.clone(), *self.structure()).await,
        };
        match encoded {
            Ok(bodies) => self.deliver(copy.outbound(bodies), deadlines).await,
            Err(stuck) => Ok(vec![refusal(stuck); copy.envelope.recipients.len()]),
        }
    }
}

fn facts(bodies: &[Body]) -> Facts {
    Facts::of(bodies.iter().take(1).flat_map(|body| &body.chunks).map(|chunk| chunk.as_ref()))
}

/// All or none: which of the bodies leaves is decided only after upstream was told that it has seven bits.
async fn in_seven_bits(bodies: Vec<Body>, limits: tree::Limits) -> Result<Vec<Body>, Stuck> {
    let encode = move || {
        let one =
            |body: &Body| to_seven_bit(&body.to_bytes(), &limits).map(|octets| Body::from(bytes::Bytes::from(octets)));
        bodies.iter().map(one).collect()
    };
    spawn_blocking(encode).await.unwrap_or_else(|died| {
        tracing::error!(%died, "the conversion of a mail died");
        Err(Stuck::Part)
    })
}

/// What a mail that can leave in neither form comes to for each of its recipients.
fn refusal(stuck: Stuck) -> Fate {
    let (code, enhanced) = match stuck {
        Stuck::Header => (553, Enhanced(5, 6, 7)),
        Stuck::Guarded(_) | Stuck::Structure(_) | Stuck::Part => (554, Enhanced(5, 6, 3)),
    };
    let words = format!("{}, and this mail cannot be converted: {stuck}", CannotCarry::EightBit);
    Fate::Refused { stage: Stage::Mail, reply: Reply::new(code, enhanced, words) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::message::guarded::Guard;

    #[test]
    fn a_refusal_says_why() {
        let rows = [
            (
                Stuck::Header,
                "553 5.6.7 upstream takes no 8-bit content, and this mail cannot be converted: a header has octets above 127",
            ),
            (
                Stuck::Guarded(Guard::DkimSigned),
                "554 5.6.3 upstream takes no 8-bit content, and this mail cannot be converted: it carries a DKIM signature, which a change would break",
            ),
            (
                Stuck::Guarded(Guard::Signed),
                "554 5.6.3 upstream takes no 8-bit content, and this mail cannot be converted: it is signed (S/MIME or PGP): a change would break the signature",
            ),
        ];
        for (stuck, expected) in rows {
            assert_eq!(refusal(stuck).to_string(), expected);
        }
    }
}
