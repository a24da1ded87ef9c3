//! The shared corpus of real mail (ignored by default: it is not part of the repository).

mod rewrite;
