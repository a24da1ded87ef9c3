//! Replaced ranges: put in order, checked, and walked. Everything between them is kept.
//!
//! **Invariant:** outside the replaced ranges every octet of the source stands in the result, in order and unchanged
//! (DESIGN, promise 3). Who replaces anything orders its ranges here first.

use std::ops::Range;

/// Ranges overlap, are reversed, or reach beyond the source: nothing may be replaced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRanges;

/// Puts edits in the order of their ranges and checks them against a source of `len` octets. Insertions at one place
/// keep their order.
///
/// # Errors
/// [`BadRanges`]: leave the source as it is.
pub fn order<T>(edits: &mut [T], len: usize, range_of: impl Fn(&T) -> &Range<usize>) -> Result<(), BadRanges> {
    edits.sort_by_key(|edit| (range_of(edit).start, range_of(edit).end));
    let mut at = 0;
    for range in edits.iter().map(range_of) {
        if range.start < at || range.end < range.start || range.end > len {
            return Err(BadRanges);
        }
        at = range.end;
    }
    Ok(())
}

/// Walks `within`, a stretch of the source that no edit crosses the ends of: what is kept, and each edit where it stands.
/// The edits are in order ([`order`]).
pub fn walk<'a, T>(
    within: Range<usize>,
    edits: impl Iterator<Item = (Range<usize>, T)> + 'a,
) -> impl Iterator<Item = Step<T>> + 'a
where
    T: 'a,
{
    let mut at = within.start;
    let mut put = None;
    let mut edits = edits;
    std::iter::from_fn(move || {
        if let Some(put) = put.take() {
            return Some(Step::Put(put));
        }
        match edits.next() {
            Some((range, edit)) => {
                let kept = at..range.start;
                at = range.end;
                if kept.is_empty() {
                    return Some(Step::Put(edit));
                }
                put = Some(edit);
                Some(Step::Keep(kept))
            }
            None if at < within.end => {
                let kept = at..within.end;
                at = within.end;
                Some(Step::Keep(kept))
            }
            None => None,
        }
    })
}

/// A step of the result.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<T> {
    /// This range of the source, never empty.
    Keep(Range<usize>),
    /// This, in place of its range.
    Put(T),
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    fn apply(source: &str, edits: &[(Range<usize>, &str)]) -> Result<String, BadRanges> {
        let mut edits = edits.to_vec();
        order(&mut edits, source.len(), |(range, _)| range)?;
        Ok(walk(0..source.len(), edits.into_iter())
            .map(|step| match step {
                Step::Keep(range) => &source[range],
                Step::Put(text) => text,
            })
            .collect())
    }

    #[test]
    fn replaces_and_keeps() {
        assert_eq!(apply("abcdef", &[]).unwrap(), "abcdef");
        // replaced, removed, inserted, at both ends, in any order given
        assert_eq!(apply("abcdef", &[(4..5, "E"), (1..2, "")]).unwrap(), "acdEf");
        assert_eq!(apply("abcdef", &[(0..0, "<"), (6..6, ">")]).unwrap(), "<abcdef>");
        assert_eq!(apply("ab", &[(1..1, "1"), (1..1, "2")]).unwrap(), "a12b");
    }

    #[test]
    fn refuses_what_overlaps_or_leaves_the_source() {
        assert_eq!(apply("abcdef", &[(1..3, ""), (2..4, "")]), Err(BadRanges));
        assert_eq!(apply("abc", &[(2..4, "")]), Err(BadRanges));
        #[expect(clippy::reversed_empty_ranges, reason = "that is the point")]
        let reversed = apply("abc", &[(2..1, "")]);
        assert_eq!(reversed, Err(BadRanges));
    }
}
