//! Codes of authenticator apps (RFC 6238 over RFC 4226): SHA-1, six digits, 30 seconds, the one form that all of them know.
//!
//! Pure: the time comes in. SHA-1 is no weakness here: HMAC needs no collision resistance.

use hmac::{Hmac, KeyInit, Mac};
use qrcodegen::{QrCode, QrCodeEcc};
use sha1::Sha1;
use subtle::ConstantTimeEq as _;

/// Octets of a secret: as long as the hash (RFC 4226 §4, R6).
pub(super) const SECRET_BYTES: usize = 20;
/// Seconds a code is shown.
const STEP_SECS: u64 = 30;
/// Codes of one step before and after are taken: clocks differ, and typing takes a while (RFC 6238 §5.2).
const STEPS_OFF_MAX: u64 = 1;
/// Light modules around the picture (ISO/IEC 18004 asks for four).
const MARGIN: i32 = 4;

/// The time step whose code this is, if it is right and newer than `last_step`: no code is taken twice (RFC 6238 §5.2).
pub(super) fn step_of(secret: &[u8], typed: &str, now_secs: u64, last_step: u64) -> Option<u64> {
    let typed: String = typed.chars().filter(|c| !c.is_whitespace()).collect();
    let now = now_secs / STEP_SECS;
    let mut found = None;
    // Every step is looked at, so that the time taken says nothing.
    for step in now.saturating_sub(STEPS_OFF_MAX)..=now + STEPS_OFF_MAX {
        let right: bool = code(secret, step).as_bytes().ct_eq(typed.as_bytes()).into();
        if right && step > last_step {
            found = Some(step);
        }
    }
    found
}

/// The code of a time step (RFC 4226 §5.3).
pub(super) fn code(secret: &[u8], step: u64) -> String {
    let Ok(mut mac) = <Hmac<Sha1> as KeyInit>::new_from_slice(secret) else { return String::new() };
    mac.update(&step.to_be_bytes());
    let hash: [u8; 20] = mac.finalize().into_bytes().into();
    let offset = usize::from(hash.last().copied().unwrap_or_default() & 0xf);
    let four = hash.iter().skip(offset).take(4).fold(0_u32, |number, octet| number << 8 | u32::from(*octet));
    format!("{:06}", (four & 0x7fff_ffff) % 1_000_000)
}

/// A secret as people type it: base32 (RFC 4648 §6) without padding.
pub(super) fn base32(octets: &[u8]) -> String {
    const LETTERS: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";
    let mut text = String::new();
    for chunk in octets.chunks(5) {
        let bits = chunk.iter().fold(0_u64, |bits, octet| bits << 8 | u64::from(*octet)) << (8 * (5 - chunk.len()));
        for place in 0..(chunk.len() * 8).div_ceil(5) {
            let letter = usize::try_from(bits >> (35 - 5 * place) & 31).unwrap_or_default();
            text.extend(LETTERS.get(letter).map(|letter| char::from(*letter)));
        }
    }
    text
}

/// What an authenticator app reads from the picture.
pub(super) fn uri(secret: &[u8], issuer: &str, login: &str) -> String {
    let (issuer, login) = (encoded(issuer), encoded(login));
    format!(
        "otpauth://totp/{issuer}:{login}?secret={}&issuer={issuer}&algorithm=SHA1&digits=6&period=30",
        base32(secret)
    )
}

fn encoded(text: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~@".contains(&byte);
    text.bytes().map(|b| if plain(b) { char::from(b).to_string() } else { format!("%{b:02X}") }).collect()
}

/// The text as a QR code, an SVG image: dark on light whatever the page's colours, as cameras want it. `None`: too long.
pub(super) fn picture(text: &str) -> Option<String> {
    let code = QrCode::encode_text(text, QrCodeEcc::Medium).ok()?;
    let size = code.size();
    let mut path = String::new();
    for y in 0..size {
        for x in (0..size).filter(|x| code.get_module(*x, y)) {
            path.push_str(&format!("M{},{}h1v1h-1z", x + MARGIN, y + MARGIN));
        }
    }
    let side = size + 2 * MARGIN;
    Some(format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {side} {side}\" width=\"220\" height=\"220\" role=\"img\" \
         aria-label=\"The key as a QR code\" shape-rendering=\"crispEdges\"><path fill=\"#fff\" d=\"M0,0h{side}v{side}h-{side}z\"/>\
         <path fill=\"#000\" d=\"{path}\"/></svg>"
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECRET: &[u8] = b"12345678901234567890";

    /// RFC 6238, appendix B (the last six of its eight digits), and RFC 4226, appendix D.
    #[test]
    fn the_vectors_of_the_rfcs() {
        for (secs, digits) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(SECRET, secs / STEP_SECS), digits, "{secs}");
        }
        for (counter, digits) in (0..).zip(["755224", "287082", "359152", "969429", "338314"]) {
            assert_eq!(code(SECRET, counter), digits, "{counter}");
        }
    }

    #[test]
    fn one_step_off_is_right_and_no_code_is_right_twice() {
        let now = 1_111_111_111;
        let step = now / STEP_SECS;
        for (off, is_right) in [(0, true), (1, true), (2, false)] {
            for near in [step - off, step + off] {
                assert_eq!(step_of(SECRET, &code(SECRET, near), now, 0).is_some(), is_right, "{off}");
            }
        }
        let typed = code(SECRET, step);
        assert_eq!(step_of(SECRET, &format!(" {} {} ", typed.split_at(3).0, typed.split_at(3).1), now, 0), Some(step));
        assert_eq!(step_of(SECRET, &typed, now, step), None, "again");
        assert_eq!(step_of(SECRET, &code(SECRET, step - 1), now, step), None, "an older one after it");
        assert_eq!(step_of(SECRET, &code(SECRET, step + 1), now, step), Some(step + 1));
        for wrong in ["", "0", "000000", "05047", "0504711", "\u{660}50471"] {
            assert_eq!(step_of(SECRET, wrong, now, 0), None, "{wrong}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_as_the_rfc_has_it() {
        for (octets, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(octets.as_bytes()), text);
        }
    }

    #[test]
    fn the_picture_and_its_text() {
        let uri = uri(SECRET, "waxseal", "ann b&c=/ü");
        assert_eq!(
            uri,
            "otpauth://totp/waxseal:ann%20b%26c%3D%2F%C3%BC?secret=GEZDGNBVGY3TQOJQGEZDGNBVGY3TQOJQ&issuer=waxseal&algorithm=SHA1&digits=6&period=30"
        );
        let svg = picture(&uri).unwrap();
        assert!(svg.starts_with("<svg ") && svg.ends_with("</svg>") && !svg.contains("style"), "{svg}");
        assert!(picture(&"x".repeat(5_000)).is_none());
    }
}
