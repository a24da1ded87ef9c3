//! One page out of rows that stand in the order of their keys.
//!
//! **Invariant:** a page begins after a key, never at a number: rows that come and go while somebody reads move no page.

/// At most `limit` (one at least) of the rows after a key, and the key to go on after; `None` on the last page.
pub(super) fn page<T, K: Ord>(
    rows: impl IntoIterator<Item = T>,
    after: Option<&K>,
    limit: usize,
    key: impl Fn(&T) -> K,
) -> (Vec<T>, Option<K>) {
    let limit = limit.max(1);
    let mut rest = rows.into_iter().skip_while(|row| after.is_some_and(|after| key(row) <= *after));
    let page: Vec<T> = rest.by_ref().take(limit).collect();
    let next = page.last().map(&key).filter(|_| rest.next().is_some());
    (page, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pages_meet_and_the_last_one_says_so() {
        let of = |rows: &[u8], after: Option<u8>, limit| page(rows.to_vec(), after.as_ref(), limit, |row| *row);
        // whole pages, a last one that is full, one that is not
        assert_eq!(of(&[1, 2, 3, 4], None, 2), (vec![1, 2], Some(2)));
        assert_eq!(of(&[1, 2, 3, 4], Some(2), 2), (vec![3, 4], None));
        assert_eq!(of(&[1, 2, 3], Some(2), 2), (vec![3], None));
        // the row it began after is gone, another came before it: nothing twice, nothing left out
        assert_eq!(of(&[0, 1, 3, 4], Some(2), 2), (vec![3, 4], None));
        // nothing, and a limit of nothing
        assert_eq!(of(&[], None, 2), (vec![], None));
        assert_eq!(of(&[1, 2], None, 0), (vec![1], Some(1)));
    }
}
