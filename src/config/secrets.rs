//! What may be shown of the values in a configuration, and to whom.
//!
//! Owns: the keys whose values are secrets, and what is cut out of addresses. Never: a key's
//! meaning.

use super::fault::Found;
use toml::Value;

/// Keys whose values are nobody's business: they are never shown.
pub const SECRETS: [&str; 7] =
    ["encryption_key", "headers", "integrity_key", "key", "keys", "secret", "token"];

/// Whether the value of a key, or of a part of its list (`keys[1]`), is nobody's business.
pub fn is_secret(key: &str) -> bool {
    SECRETS.contains(&key.split('[').next().unwrap_or(key))
}

/// What of a value a fault report may show. Reports are logged, and stand on `/ready` for anybody
/// who asks.
pub fn told(key: &str, value: &Value) -> Found {
    let name = key.split('[').next().unwrap_or(key);
    match value {
        _ if is_secret(key) => Found::Value("(secret)".to_owned()),
        Value::Array(_) | Value::Table(_) => Found::Hidden,
        Value::String(text) if name == "url" || text.contains("://") => {
            Found::text(&without_secrets(text))
        }
        other => Found::Value(other.to_string()),
    }
}

/// An address without what may be user, password, query and fragment.
fn without_secrets(address: &str) -> String {
    let (scheme, rest) = address.split_once("://").unwrap_or(("", address));
    let (user, rest) = rest.rsplit_once('@').unwrap_or(("", rest));
    let (path, behind) = rest.split_once(['?', '#']).unwrap_or((rest, ""));
    let mark = |part: &str, mark: &'static str| if part.is_empty() { "" } else { mark };
    format!("{scheme}{}{}{path}{}", mark(scheme, "://"), mark(user, "...@"), mark(behind, "..."))
}

/// A value as an operator who may read the files is shown it.
pub fn shown(key: &str, value: &Value) -> String {
    if is_secret(key) { "(secret)".to_owned() } else { value.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_address_in_a_report_has_neither_user_nor_query() {
        for (address, told) in [
            ("http://user:pw@b.example/x", "http://...@b.example/x"),
            ("http://user:p/w?@#@b.example/x", "http://...@b.example/x"),
            ("user:pw@b.example", "...@b.example"),
            ("https://b.example/x?token=t", "https://b.example/x..."),
            ("https://b.example/x#t", "https://b.example/x..."),
            ("ftp://b.example", "ftp://b.example"),
            ("acme", "acme"),
        ] {
            assert_eq!(without_secrets(address), told, "{address}");
        }
    }
}
