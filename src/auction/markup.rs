//! What a bid's markup is, as far as an exchange can tell without rendering it.
//!
//! Owns: telling media apart, the check of native markup, and the entry to the checks of VAST and
//! HTML. Never: a judgement of what HTML does when it runs.
//!
//! - Video and audio: a VAST or DAAST document, not an address of one (see `vast`).
//! - Native: a JSON object, or one inside `{"native":...}`, with `assets`, or with one of
//!   `assetsurl` and `dcourl` that stand for them (Dynamic Native Ads 1.2, 5.1).
//! - Banner: anything but a VAST document, which no page can show.
//!
//! No markup has a NUL in it, behind which some read on and some do not.
//!
//! Secure: what is loaded counts, what is navigated to does not; scripts are not read.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::html::{is_plain_http, plain_http};
use super::references::may_hide_a_scheme;
use super::{html, vast};
use crate::openrtb::ids::{Media, MediaSet};
use memchr::memmem;
use serde::Deserialize;
use serde::de::{Deserializer, IgnoredAny, MapAccess, Visitor};
use serde_json::Value;
use std::fmt;

/// Media of a bid without `mtype` on an imp that offers several.
///
/// A document whose root is VAST is video where that is offered, else audio; what begins as a
/// JSON object is native; everything else that is not empty is a banner.
pub fn guess(adm: &[u8], offered: MediaSet) -> Option<Media> {
    let adm = vast::without_mark(adm).trim_ascii_start();
    let looks_like = if adm.is_empty() {
        return None;
    } else if vast::has_root(adm) {
        if offered.contains(Media::Video) { Media::Video } else { Media::Audio }
    } else if adm.starts_with(b"{") {
        Media::Native
    } else {
        Media::Banner
    };
    Some(looks_like)
}

/// Whether the markup is of its media.
pub fn is_valid(adm: &[u8], media: Media) -> bool {
    if memchr::memchr(0, adm).is_some() {
        return false;
    }
    match media {
        Media::Banner => !vast::has_root(vast::without_mark(adm)),
        Media::Video | Media::Audio => vast::is_valid(adm),
        Media::Native => {
            serde_json::from_slice::<NativeAd>(adm).is_ok_and(|native| native.has_assets)
        }
    }
}

/// Whether the markup loads nothing by plain HTTP.
pub fn is_secure(adm: &[u8], media: Media) -> bool {
    // in VAST the pieces of a text may be apart
    let is_whole = matches!(media, Media::Banner | Media::Native);
    if is_whole && !names_plain_http(adm) {
        // native is JSON in a string: there the scheme may still be written with escapes
        let escapes = [&b"\\u"[..], b"\\t", b"\\n", b"\\r"];
        let has_escapes = || escapes.iter().any(|escape| memmem::find(adm, escape).is_some());
        let hides_it = may_hide_a_scheme(adm) || (media == Media::Native && has_escapes());
        if !hides_it {
            return true;
        }
    }
    match media {
        Media::Banner => !html::loads_plain_http(adm),
        Media::Video | Media::Audio => !vast::loads_plain_http(adm),
        Media::Native => serde_json::from_slice(adm).is_ok_and(|root| !native_loads(&root)),
    }
}

/// Whether `http:` stands anywhere.
fn names_plain_http(bytes: &[u8]) -> bool {
    plain_http(bytes).next().is_some()
}

/// Whether native markup loads by plain HTTP: all addresses but those of `link.url`,
/// `link.fallback`, `privacy` and what stands in `customdata` and `ext`.
fn native_loads(value: &Value) -> bool {
    let is_plain =
        |value: &Value| value.as_str().is_some_and(|text| is_plain_http(text.as_bytes()));
    match value {
        Value::Array(items) => items.iter().any(native_loads),
        Value::Object(members) => members.iter().any(|(key, value)| match key.as_str() {
            "privacy" | "customdata" | "ext" | "fallback" => false,
            "link" => value.get("clicktrackers").is_some_and(native_list_loads),
            "imptrackers" | "clicktrackers" => native_list_loads(value),
            "url" | "assetsurl" | "dcourl" => is_plain(value),
            "jstracker" => value.as_str().is_some_and(|t| html::loads_plain_http(t.as_bytes())),
            "vasttag" => value.as_str().is_some_and(|t| vast::loads_plain_http(t.as_bytes())),
            _ => native_loads(value),
        }),
        _ => false,
    }
}

fn native_list_loads(list: &Value) -> bool {
    let mut texts = list.as_array().into_iter().flatten().filter_map(Value::as_str);
    texts.any(|text| is_plain_http(text.as_bytes()))
}

/// As much of a native ad as shows that it is one.
#[derive(Debug, Default)]
struct NativeAd {
    has_assets: bool,
}

impl<'de> Deserialize<'de> for NativeAd {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        // deserialize_map: a derived struct would take an array for an object
        deserializer.deserialize_map(NativeVisitor)
    }
}

struct NativeVisitor;

impl<'de> Visitor<'de> for NativeVisitor {
    type Value = NativeAd;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a native ad object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<NativeAd, A::Error> {
        let mut ad = NativeAd::default();
        while let Some(key) = map.next_key::<String>()? {
            match key.as_str() {
                "native" => ad.has_assets |= map.next_value::<NativeAd>()?.has_assets,
                "assets" => ad.has_assets |= !map.next_value::<Vec<IgnoredAny>>()?.is_empty(),
                "assetsurl" | "dcourl" => {
                    ad.has_assets |=
                        map.next_value::<Value>()?.as_str().is_some_and(|u| !u.is_empty());
                }
                _ => {
                    map.next_value::<IgnoredAny>()?;
                }
            }
        }
        Ok(ad)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn media_are_told_by_the_first_bytes_of_the_markup() {
        let all: MediaSet = Media::ALL.into_iter().collect();
        let audio: MediaSet = [Media::Audio, Media::Banner].into_iter().collect();
        for (adm, offered, media) in [
            ("", all, None),
            (" \u{feff}", all, Some(Media::Banner)),
            ("<VAST version=\"4.0\">", all, Some(Media::Video)),
            (
                "\u{feff} <?xml version=\"1.0\"?>\n<!-- x --><VAST version='2.0'/>",
                all,
                Some(Media::Video),
            ),
            ("<DAAST version=\"1.0\"></DAAST>", audio, Some(Media::Audio)),
            (" {\"native\":{}}", all, Some(Media::Native)),
            ("<div>VAST</div>", all, Some(Media::Banner)),
            ("plain text", all, Some(Media::Banner)),
        ] {
            assert_eq!(guess(adm.as_bytes(), offered), media, "{adm}");
        }
    }

    #[test]
    fn a_scheme_that_is_written_in_another_way_is_seen_in_every_media() {
        for (adm, media, secure) in [
            ("<img src='&#104;ttp://example.com/a'>", Media::Banner, false),
            ("<img src='http&colon;//example.com/a'>", Media::Banner, false),
            ("<img src='ht\ttp://example.com/a'>", Media::Banner, false),
            ("<iframe srcdoc='<img src=http&amp;colon;//example.com>'>", Media::Banner, false),
            ("<img src='https://example.com/?a=1&b=2'>", Media::Banner, true),
            ("<VAST><MediaFile>&#x68;ttp://example.com/a</MediaFile></VAST>", Media::Video, false),
            (
                "<VAST><MediaFile><![CDATA[ht\ntp://example.com/a]]></MediaFile></VAST>",
                Media::Video,
                false,
            ),
            (
                "<VAST><HTMLResource>&lt;img src='http://example.com/a'&gt;</HTMLResource></VAST>",
                Media::Video,
                false,
            ),
            (
                "<VAST><MediaFile><![CDATA[https://example.com/&#104;]]></MediaFile></VAST>",
                Media::Video,
                true,
            ),
        ] {
            assert_eq!(is_secure(adm.as_bytes(), media), secure, "{adm}");
        }
    }

    #[test]
    fn native_markup_is_an_object_with_assets() {
        for (adm, valid) in [
            (r#"{"native":{"assets":[{"id":1}],"link":{"url":"https://example.com"}}}"#, true),
            (r#"{"assets":[{"id":1}]}"#, true),
            (r#"{"native":{"assetsurl":"https://example.com/a"}}"#, true),
            (r#"{"native":{"assets":[]}}"#, false),
            (r#"{"native":[[{"id":1}]]}"#, false),
            (r#"[{"assets":[1]}]"#, false),
            (r#"{"assets":{"id":1}}"#, false),
            (r#"{"assets":[{"id":1}]"#, false),
            (r#"{"assets":[1]} x"#, false),
            ("<div></div>", false),
        ] {
            assert_eq!(is_valid(adm.as_bytes(), Media::Native), valid, "{adm}");
        }
    }

    #[test]
    fn native_markup_is_secure_when_nothing_is_loaded_by_plain_http() {
        for (adm, secure) in [
            (
                r#"{"assets":[{"img":{"url":"https://example.com/a"}}],"link":{"url":"http://example.com"}}"#,
                true,
            ),
            (r#"{"assets":[{"img":{"url":"http://example.com/a"}}]}"#, false),
            (r#"{"assets":[{"img":{"url":"http:\/\/example.com/a"}}]}"#, false),
            (r#"{"assets":[{"img":{"url":"\u0068ttp://example.com/a"}}]}"#, false),
            (r#"{"assets":[{"img":{"url":"ht\ntp://example.com/a"}}]}"#, false),
            (
                r#"{"assets":[1],"jstracker":"<script src='&#104;ttp://example.com'></script>"}"#,
                false,
            ),
            (r#"{"assets":[1],"imptrackers":["HTTP://example.com/i"]}"#, false),
            (
                r#"{"assets":[1],"eventtrackers":[{"event":1,"method":1,"url":"http://example.com"}]}"#,
                false,
            ),
            (r#"{"assets":[1],"link":{"url":"x","clicktrackers":["http://example.com"]}}"#, false),
            (r#"{"assets":[1],"jstracker":"<script src='http://example.com'></script>"}"#, false),
            (r#"{"assets":[{"title":{"text":"http: the protocol"}}]}"#, true),
            (r#"{"assets":[{"title":{"text":"caf\u00e9"}}]}"#, true),
        ] {
            assert_eq!(is_secure(adm.as_bytes(), Media::Native), secure, "{adm}");
        }
    }

    proptest! {
        #[test]
        fn no_markup_is_too_odd_to_be_judged(adm in "(<|>|/|!--|VAST|version|=|\"|'|http:|src|style|url\\(|\\]\\]>|<!\\[CDATA\\[|\\{|\\}|\\?|[a-z ]|\\PC){0,60}") {
            for media in Media::ALL {
                let adm = adm.as_bytes();
                let _ = (is_valid(adm, media), is_secure(adm, media));
                let _ = guess(adm, [media].into_iter().collect());
            }
        }
    }
}
