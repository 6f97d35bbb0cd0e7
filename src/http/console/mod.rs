//! The console: one page with all that it needs in it.
//!
//! Owns: [`page`], put together from the files beside this one. Never: a number (those come from
//! `/console.json`), a name from configuration, a byte from another server.
//! Invariant: its policy lets run the script and style that are in it, by their hashes, and nothing
//! else; it reaches the listener that it came from and no other.

use crate::http::reply::Html;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use std::sync::LazyLock;

const FRAME: &str = include_str!("page.html");
const STYLE: &str = include_str!("style.css");
/// In the order in which they run.
const SCRIPTS: [&str; 4] = [
    include_str!("parts.js"),
    include_str!("charts.js"),
    include_str!("road.js"),
    include_str!("live.js"),
];

static PAGE: LazyLock<(String, String)> = LazyLock::new(|| {
    let script = SCRIPTS.concat();
    let policy = format!(
        "default-src 'none'; script-src '{}'; style-src '{}'; connect-src 'self'; img-src data:; \
         base-uri 'none'; form-action 'none'; frame-ancestors 'none'",
        hash(&script),
        hash(STYLE)
    );
    let text = FRAME.replacen("/*style*/", STYLE, 1).replacen("/*script*/", &script, 1);
    (text, policy)
});

/// The page, which is the same for everybody.
pub fn page() -> Html {
    let (text, policy) = &*PAGE;
    Html { text, policy }
}

fn hash(text: &str) -> String {
    format!("sha256-{}", BASE64_STANDARD.encode(digest(&SHA256, text.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn between<'a>(text: &'a str, from: &str, to: &str) -> &'a str {
        text.split_once(from).unwrap().1.split_once(to).unwrap().0
    }

    #[test]
    fn the_policy_names_the_hash_of_what_is_in_the_page() {
        let Html { text, policy } = page();
        for (tag, what) in [("script", "script-src"), ("style", "style-src")] {
            let inside = between(text, &format!("<{tag}>"), &format!("</{tag}>"));
            assert!(inside.len() > 1000, "{tag}");
            assert!(policy.contains(&format!("{what} '{}'", hash(inside))), "{tag}: {policy}");
            assert_eq!(text.matches(&format!("<{tag}")).count(), 1, "{tag}");
        }
    }

    #[test]
    fn it_needs_no_other_server_and_writes_no_markup_from_text() {
        let Html { text, .. } = page();
        for word in ["https://", "//cdn", "@import", "url(", "<link rel=\"stylesheet", " src="] {
            assert!(!text.contains(word), "{word}");
        }
        // what is shown came over the network: it becomes text, never markup or code
        for word in [
            "innerHTML",
            "outerHTML",
            "insertAdjacentHTML",
            "document.write",
            "eval(",
            "Function(",
            "DOMParser",
            "javascript:",
            "srcdoc",
            " onclick=",
            " onload=",
            " style=",
        ] {
            assert!(!text.contains(word), "{word}");
        }
    }
}
