//! Passwords of organisations' own upstreams, sealed, on disk.

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use serde::{Deserialize, Serialize};

use super::{Unreadable, decode, encode};

/// A sealed password, encoded.
pub(in crate::store) fn encode_password(sealed: &[u8]) -> Result<Vec<u8>, Unreadable> {
    encode(&PasswordV1 { sealed: STANDARD.encode(sealed) })
}

/// Reads [`encode_password`].
pub(in crate::store) fn decode_password(value: &[u8]) -> Result<Vec<u8>, Unreadable> {
    let PasswordV1 { sealed } = decode(value)?;
    STANDARD.decode(sealed).map_err(|error| format!("sealed: {error}"))
}

#[derive(Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
struct PasswordV1 {
    sealed: String,
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As every version that wrote it, for ever.
    #[test]
    fn what_was_written_is_read() {
        let stored = b"\x01{\"sealed\":\"AQL/\"}";
        assert_eq!(encode_password(&[1, 2, 255]).unwrap(), stored);
        assert_eq!(decode_password(stored), Ok(vec![1, 2, 255]));
        assert!(decode_password(b"\x01{\"sealed\":\"no base64!\"}").is_err());
        assert!(decode_password(b"\x02{}").is_err());
    }
}
