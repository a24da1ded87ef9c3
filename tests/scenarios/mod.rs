//! One story a file, named by what happens.

mod delivery;
mod links_outlive_the_stores;
