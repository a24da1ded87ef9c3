//! Replaces ranges and keeps the rest: the one way bytes change here.
//!
//! **Invariant:** outside the replaced ranges every octet of the source stands in the result, in order and unchanged
//! (DESIGN, promise 3).

use std::ops::Range;

/// Ranges to replace in a source of `len` octets, with what replaces each.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Splice<T> {
    /// Sorted by start, not overlapping; two insertions at one place keep their order.
    edits: Vec<(Range<usize>, T)>,
}

/// A step of the result: octets kept, or a replacement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Step<'a, T> {
    /// This range of the source, never empty.
    Keep(Range<usize>),
    /// This in place of its range.
    Put(&'a T),
}

/// The edits overlap or reach beyond the source: nothing was spliced.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BadRanges;

impl<T> Splice<T> {
    /// Orders the edits and checks them against a source of `len` octets.
    ///
    /// # Errors
    /// [`BadRanges`] when two edits overlap, a range is reversed, or one ends beyond `len`: leave the source as it is.
    pub fn new(mut edits: Vec<(Range<usize>, T)>, len: usize) -> Result<Splice<T>, BadRanges> {
        edits.sort_by_key(|(range, _)| (range.start, range.end));
        let mut at = 0;
        for (range, _) in &edits {
            if range.start < at || range.end < range.start || range.end > len {
                return Err(BadRanges);
            }
            at = range.end;
        }
        Ok(Splice { edits })
    }

    /// The edits, in order.
    pub fn edits(&self) -> &[(Range<usize>, T)] {
        &self.edits
    }

    /// The edits, in order, owned.
    pub fn into_edits(self) -> impl Iterator<Item = T> {
        self.edits.into_iter().map(|(_, edit)| edit)
    }

    /// Whether nothing is replaced.
    pub fn is_empty(&self) -> bool {
        self.edits.is_empty()
    }

    /// The steps that make the result of `within`, a range of the source no edit crosses the ends of.
    pub fn steps(&self, within: Range<usize>) -> Vec<Step<'_, T>> {
        let mut steps = Vec::with_capacity(self.edits.len() * 2 + 1);
        let mut at = within.start;
        for (range, put) in self.edits.iter().filter(|(r, _)| r.start >= within.start && r.end <= within.end) {
            if range.start > at {
                steps.push(Step::Keep(at..range.start));
            }
            steps.push(Step::Put(put));
            at = range.end;
        }
        if within.end > at {
            steps.push(Step::Keep(at..within.end));
        }
        steps
    }
}

#[cfg(test)]
#[expect(clippy::string_slice, reason = "a test cuts text it wrote itself")]
mod tests {
    use super::*;

    fn apply(source: &str, edits: &[(Range<usize>, &str)]) -> Result<String, BadRanges> {
        let splice = Splice::new(edits.to_vec(), source.len())?;
        Ok(splice
            .steps(0..source.len())
            .iter()
            .map(|step| match step {
                Step::Keep(range) => &source[range.clone()],
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
