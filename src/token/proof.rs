//! Proof that a site is ours: an answer to a question nobody else can give.
//!
//! **Invariant:** the context sets these answers apart from every other use of the instance key, so that whoever may ask
//! learns nothing but them.

use super::InstanceKey;

/// Letters of a question, hexadecimal.
pub const NONCE_LEN: usize = 32;
const CONTEXT: &[u8] = b"waxseal health proof v1\0";
/// Octets of an answer; it guards against mix-ups, not against an attacker with years.
const PROOF_BYTES: usize = 16;

/// The answer to a question of [`NONCE_LEN`] lower-case hexadecimal letters; `None` to any other.
pub fn proof(key: &InstanceKey, nonce: &str) -> Option<String> {
    let fit = nonce.len() == NONCE_LEN && nonce.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
    if !fit {
        return None;
    }
    let mac = key.mac(&[CONTEXT, nonce.as_bytes()]);
    Some(mac.iter().take(PROOF_BYTES).map(|octet| format!("{octet:02x}")).collect())
}

#[cfg(test)]
mod tests {
    use super::super::Secret;
    use super::*;

    #[test]
    fn one_key_one_answer_and_only_to_a_question() {
        let (ours, theirs) = (InstanceKey::derive(&Secret([1; 32])), InstanceKey::derive(&Secret([2; 32])));
        let nonce = "0123456789abcdef0123456789abcdef";
        let answer = proof(&ours, nonce).unwrap();
        assert_eq!(answer.len(), 32);
        assert_eq!(proof(&ours, nonce), Some(answer.clone()));
        assert_ne!(proof(&theirs, nonce), Some(answer.clone()));
        assert_ne!(proof(&ours, "1123456789abcdef0123456789abcdef"), Some(answer));
        for bad in ["", "0", "0123456789ABCDEF0123456789abcdef", "0123456789abcdef0123456789abcdef0", &"é".repeat(16)]
        {
            assert_eq!(proof(&ours, bad), None, "{bad}");
        }
    }
}
