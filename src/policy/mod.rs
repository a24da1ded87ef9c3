//! Settings + message → a `Plan`: what to rewrite, what to leave, and why. Decide first, edit second.
