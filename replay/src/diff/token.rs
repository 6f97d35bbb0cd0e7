//! Tokens in the URLs of an exchange's events.
//!
//! Owns: [`mask`]. No two answers have a token in common, so that a URL with one is another URL each
//! time; without it, what is wrong with the rest of a URL is seen. Never: whether a token is good.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use gavel::token::TOKEN_CHARS_MIN;
use serde_json::Value;

/// Where gavel takes events: a token stands behind it.
const PATH: &str = "/e/";

/// What stands for a token.
const MASK: &str = "TOKEN";

/// Puts one word in place of each token, wherever it stands.
pub fn mask(value: &mut Value) {
    match value {
        Value::String(text) => {
            if let Some(masked) = masked(text) {
                *text = masked;
            }
        }
        Value::Array(list) => list.iter_mut().for_each(mask),
        Value::Object(map) => map.values_mut().for_each(mask),
        Value::Null | Value::Bool(_) | Value::Number(_) => {}
    }
}

/// `None`: there is none in it.
fn masked(text: &str) -> Option<String> {
    let is_token = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '_');
    let mut parts = text.split(PATH);
    let mut out = parts.next()?.to_owned();
    let mut is_masked = false;
    for part in parts {
        out.push_str(PATH);
        let rest = part.trim_start_matches(is_token);
        if part.len().saturating_sub(rest.len()) >= TOKEN_CHARS_MIN {
            is_masked = true;
            out.push_str(MASK);
            out.push_str(rest);
        } else {
            out.push_str(part);
        }
    }
    is_masked.then_some(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn tokens_are_masked_and_what_stands_around_them_is_not() {
        let token = "Aa0-_".repeat(28);
        let digest = "0123456789abcdef".repeat(4);
        let mut value = json!({
            "nurl": format!("https://x.example/e/{token}?l=${{AUCTION_LOSS}}"),
            "adm": [format!("<img src='https://x.example/e/{token}.gif'><a href='/e/short'>"), 7],
            "iurl": "https://x.example/e/picture.png",
            "adomain": [format!("https://x.example/e/{digest}/x.webp")],
        });
        mask(&mut value);
        let expected = json!({
            "nurl": "https://x.example/e/TOKEN?l=${AUCTION_LOSS}",
            "adm": ["<img src='https://x.example/e/TOKEN.gif'><a href='/e/short'>", 7],
            "iurl": "https://x.example/e/picture.png",
            // a digest in a path is no token
            "adomain": [format!("https://x.example/e/{digest}/x.webp")],
        });
        assert_eq!(value, expected);
    }
}
