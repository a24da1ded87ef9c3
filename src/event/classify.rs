//! Who probably did it: facts of a request in, verdict and the rule that gave it out. The first rule that matches
//! decides; the order is the table's in DESIGN 7.
//!
//! **Invariant:** pure. The same facts give the same verdict, today and when they are judged again.

use super::Verdict;

/// What is known of one request for a pixel or a link.
#[derive(Debug, Clone, Copy, Default)]
pub struct Facts<'a> {
    /// Whether the method is GET.
    pub get: bool,
    /// The values of `Sec-Purpose`, `Purpose`, `X-Purpose` and `X-Moz`, as sent.
    pub purposes: &'a [&'a str],
}

/// What a request comes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing is recorded.
    NoEvent,
    /// It is recorded with this verdict, given by this rule; an empty rule when none gave it.
    Event(Verdict, &'static str),
}

/// Judges one request.
pub fn classify(facts: &Facts<'_>) -> Judgement {
    if !facts.get {
        return Judgement::NoEvent;
    }
    if facts.purposes.iter().any(|purpose| is_ahead_of_need(purpose)) {
        return Judgement::Event(Verdict::Machine, "prefetch");
    }
    Judgement::Event(Verdict::Unknown, "")
}

/// Whether a purpose header says that nobody has looked yet: `prefetch;prerender`, `preview`, …
fn is_ahead_of_need(purpose: &str) -> bool {
    purpose
        .split([';', ',', ' ', '\t', '='])
        .any(|word| ["prefetch", "preview", "prerender"].iter().any(|ahead| word.eq_ignore_ascii_case(ahead)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNJUDGED: Judgement = Judgement::Event(Verdict::Unknown, "");
    const PREFETCH: Judgement = Judgement::Event(Verdict::Machine, "prefetch");

    /// Rows by rule, then what no rule of today decides.
    #[test]
    fn the_first_rule_that_matches_decides() {
        for (get, purposes, judgement) in [
            (false, &[][..], Judgement::NoEvent),
            (false, &["prefetch"][..], Judgement::NoEvent),
            (true, &["prefetch"], PREFETCH),
            (true, &["prefetch;prerender"], PREFETCH),
            (true, &["Prefetch; anonymous-client-ip"], PREFETCH),
            (true, &["preview"], PREFETCH),
            (true, &["x, PRERENDER"], PREFETCH),
            (true, &["navigate", "prefetch"], PREFETCH),
            (true, &[], UNJUDGED),
            (true, &["navigate"], UNJUDGED),
            (true, &["prefetched"], UNJUDGED),
            (true, &[""], UNJUDGED),
        ] {
            assert_eq!(classify(&Facts { get, purposes }), judgement, "{get} {purposes:?}");
        }
    }
}
