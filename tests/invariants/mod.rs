//! What must always be true of the source itself.

mod imports;
mod limits;
