//! One story a file, named by what happens.

mod delivery;
