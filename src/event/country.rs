//! Countries by their code, as people call them in English.

/// `IT Italy`: ISO 3166-1 alpha-2 and XK, which databases use for Kosovo; ordered by code.
const NAMES: &str = include_str!("countries.txt");

/// The country's name; the code itself where there is none.
pub fn country_name(code: &str) -> &str {
    let named = NAMES.lines().find_map(|line| line.strip_prefix(code)?.strip_prefix(' '));
    named.unwrap_or(code)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_one_name() {
        let codes: Vec<&str> = NAMES.lines().map(|line| line.split_once(' ').unwrap().0).collect();
        assert_eq!(codes.len(), 250, "249 of ISO 3166-1, and Kosovo");
        assert!(codes.is_sorted_by(|a, b| a < b));
        assert!(codes.iter().all(|code| code.len() == 2 && code.bytes().all(|b| b.is_ascii_uppercase())));
    }

    #[test]
    fn a_name_or_the_code() {
        for (code, name) in [("IT", "Italy"), ("XK", "Kosovo"), ("ZW", "Zimbabwe"), ("ZZ", "ZZ"), ("", ""), ("I", "I")]
        {
            assert_eq!(country_name(code), name);
        }
    }
}
