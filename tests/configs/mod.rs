//! Bad config files, one mistake each, with the words `waxseal check` must say.
