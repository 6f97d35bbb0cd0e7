//! A look that knows no name and no form of an id: letters and digits in such disorder that somebody
//! drew them.
//!
//! Owns: what looks drawn, and where that would be somebody's. Never: the tables by which recordings
//! are written, for what they do not know is what is looked for here.

/// Below these, what was drawn is a person's or a device's.
const PERSONS: [&str; 4] = ["user", "device", "eids", "uids"];
/// What is kept as it is, on purpose, and looks drawn.
const KEPT: [&str; 12] = [
    "browsers",
    "carrier",
    "gpp",
    "hwv",
    "make",
    "model",
    "os",
    "osv",
    "platform",
    "sua",
    "ua",
    "us_privacy",
];
/// Fewer letters and digits may be a word, or a date.
const DRAWN_LEAST: usize = 12;
/// So many are no word, whatever they are made of.
const LONG: usize = 20;
/// Changes between small and large letters and digits that a long word does not have.
const CHANGES_LEAST: usize = 5;

/// Whether what is drawn would be somebody's here.
pub(super) fn is_near_person(path: &[&str]) -> bool {
    let is_kept = |name: &&str| {
        KEPT.iter().any(|kept| name.eq_ignore_ascii_case(kept))
            || name.to_ascii_lowercase().contains("consent")
    };
    let is_person = |name: &&str| PERSONS.iter().any(|known| name.eq_ignore_ascii_case(known));
    path.iter().any(is_person) && !path.iter().any(is_kept)
}

/// Whether something in a text was drawn.
pub(super) fn holds_drawn(text: &str) -> bool {
    text.split(|letter: char| !letter.is_ascii_alphanumeric()).any(is_drawn)
}

fn is_drawn(word: &str) -> bool {
    if word.len() < DRAWN_LEAST {
        return false;
    }
    let class = |byte: &u8| match byte {
        b'0'..=b'9' => 0,
        b'a'..=b'z' => 1,
        _ => 2,
    };
    let classes: Vec<u8> = word.as_bytes().iter().map(class).collect();
    let changes = classes.windows(2).filter(|pair| pair[0] != pair[1]).count();
    let numbers = classes.chunk_by(|a, b| a == b).filter(|run| run[0] == 0).count();
    let is_hex = word.bytes().all(|byte| byte.is_ascii_hexdigit());
    // all digits; hexadecimal; several numbers among letters; or long and in disorder
    (is_hex && numbers > 0)
        || (numbers > 1 && changes > numbers)
        || (word.len() >= LONG && changes >= CHANGES_LEAST)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_told_from_words() {
        for drawn in [
            "C39XK0ABCDEF",
            "A4AAABlh7Sm1rVcb",
            "XY1000bIVBVah9ium",
            "TEST3fZ8H2k0aP9",
            "u/9774d56d682e549c",
            "a 491701234567",
            "QWxhZGRpbjpvcGVuIHNlc2FtZQ",
        ] {
            assert!(holds_drawn(drawn), "{drawn}");
        }
        for word in [
            "iPhone15ProMax",
            "SM-G991BXXU5",
            "Donaudampfschifffahrt",
            "interactiveAdvertisingBureau",
            "label_only_3",
            "2026-09-01T12:30:45.123Z",
            "id5-sync.com",
            "prebid 11.36.0",
            "",
        ] {
            assert!(!holds_drawn(word), "{word}");
        }
    }
}
