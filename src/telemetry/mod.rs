//! Log set-up and the mail log.
