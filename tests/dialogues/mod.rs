//! Conversations: a file each, run against the pure session and again over a socket.
