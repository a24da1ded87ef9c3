//! May this submitter send with this reverse path and this From header?
