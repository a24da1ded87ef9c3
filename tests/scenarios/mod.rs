//! One story a file, named by what happens.

mod links_outlive_the_stores;
