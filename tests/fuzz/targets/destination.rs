//! Destinations: what is sealed can stand in a `Location:` header, and reads as itself.
#![no_main]

use libfuzzer_sys::fuzz_target;
use waxseal::policy::{LinkRules, Link};
use waxseal::token::destination::{DESTINATION_BYTES_MAX, Destination};

fuzz_target!(|octets: &[u8]| {
    for utf8 in [true, false] {
        if let Ok(destination) = Destination::from_attribute(octets, utf8) {
            check(&destination);
        }
    }
    let Ok(text) = std::str::from_utf8(octets) else { return };
    if let Ok(destination) = Destination::from_text(text) {
        check(&destination);
    }
});

fn check(destination: &Destination) {
    let url = destination.as_str();
    assert!(url.len() <= DESTINATION_BYTES_MAX && url.bytes().all(|octet| (0x21..0x7f).contains(&octet) || octet == b' '));
    let lower = url.to_ascii_lowercase();
    assert!(lower.starts_with("http://") || lower.starts_with("https://"));
    assert!(!destination.host().is_empty());
    assert_eq!(Destination::from_text(url).as_ref(), Ok(destination), "it reads as itself");
    assert_eq!(Destination::from_attribute(htmlize::escape_all_quotes(url).as_bytes(), false).as_ref(), Ok(destination));
    let link = Link { url, host: destination.host(), path_and_query: destination.path_and_query(), text: url };
    LinkRules::default().left_alone(&link);
}
