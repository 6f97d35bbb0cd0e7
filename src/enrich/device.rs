//! What a user agent and its client hints say about a device.
//!
//! Owns: [`DeviceDatabase`] and how one [`Device`] is put together: the regexes (uap-core format)
//! read the user agent, `sua` outranks them, the model table and its rules complete both. Never: a
//! file, a request. Invariant: work is bounded by [`UA_BYTES_MAX`]; the regexes run in linear time.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use super::models::{Models, Rule};
use super::render::{number, text};
use crate::facts::Device;
use crate::request::Key;
use smallvec::SmallVec;
use std::fmt;
use ua_parser::Extractor;

/// Honest user agents are shorter; what stands behind is not read.
pub const UA_BYTES_MAX: usize = 1024;

/// A model code or version longer than this is noise.
const VALUE_BYTES_MAX: usize = 64;

/// The compiled regexes and the table.
pub struct DeviceDatabase {
    extractor: Extractor<'static>,
    models: Models,
}

/// What a request says about the software that shows the ad.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Agent<'a> {
    /// At most [`UA_BYTES_MAX`] bytes.
    pub ua: &'a str,
    pub hints: Option<Hints<'a>>,
}

/// `device.sua`, as far as it is read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Hints<'a> {
    pub platform: &'a str,
    pub platform_version: SmallVec<[&'a str; 4]>,
    pub browsers: SmallVec<[&'a str; 4]>,
    pub is_mobile: Option<bool>,
    pub model: &'a str,
}

/// What shows the page. Nothing is decided by it and no bidder is told: it is looked up only for
/// people to read, which saves a third of the work for an agent that is not remembered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Browser {
    pub family: Option<String>,
    pub version: Option<String>,
}

// === impl Agent ===

impl<'a> Agent<'a> {
    /// Cuts what is too long.
    pub fn new(ua: &'a str, hints: Option<Hints<'a>>) -> Self {
        Self { ua: cut(ua, UA_BYTES_MAX), hints }
    }

    /// Whether there is nothing to go by.
    pub fn is_empty(&self) -> bool {
        self.ua.is_empty() && self.hints.is_none()
    }
}

// === impl DeviceDatabase ===

impl DeviceDatabase {
    /// From its parts.
    pub fn new(extractor: Extractor<'static>, models: Models) -> Self {
        Self { extractor, models }
    }

    /// Everything that can be said about an agent.
    pub fn classify(&self, agent: &Agent<'_>) -> Device {
        let mut device = self.by_ua(agent.ua);
        if let Some(hints) = &agent.hints {
            self.by_hints(&mut device, hints);
        }
        self.complete(&mut device);
        if let Some(rule) = self.models.rule(agent.ua) {
            apply(&mut device, rule);
        }
        if device.devicetype.is_none() && !device.is_bot {
            device.devicetype = devicetype(&device, agent);
        }
        render(&mut device);
        device
    }

    /// What the regexes find.
    fn by_ua(&self, ua: &str) -> Device {
        let mut device = Device::default();
        if ua.is_empty() {
            return device;
        }
        if let Some(os) = self.extractor.os.extract(ua) {
            let parts = [os.major.as_deref(), os.minor.as_deref(), os.patch.as_deref()];
            device.osv = version(parts.into_iter().flatten());
            device.os = known(os_name(&os.os));
        }
        if let Some(hardware) = self.extractor.dev.extract(ua) {
            device.is_bot = hardware.device == "Spider";
            device.make = hardware.brand.as_deref().and_then(known);
            device.model = hardware.model.as_deref().and_then(known);
        }
        if device.is_bot {
            // a robot's disguise is not a device
            (device.make, device.model) = (None, None);
        }
        device
    }

    /// The browser of an agent.
    pub fn browser(&self, agent: &Agent<'_>) -> Browser {
        let mut browser = Browser::default();
        if let Some(found) = self.extractor.ua.extract(agent.ua) {
            browser.version = version([found.major, found.minor].into_iter().flatten());
            browser.family = known(&found.family);
        }
        let Some(hints) = &agent.hints else { return browser };
        let brands = hints.browsers.iter().copied();
        // "Not A;Brand" and its like are there to be ignored; Chromium is what others are built on
        let named = brands.filter(|brand| !(brand.contains("Not") && brand.contains("rand")));
        let best =
            named.clone().find(|brand| *brand != "Chromium").or_else(|| named.clone().next());
        let short = |brand: &str| {
            known(brand.trim_start_matches("Google ").trim_start_matches("Microsoft "))
        };
        if let Some(brand) = best.and_then(short)
            // the user agent's word is finer: "Chrome Mobile" of "Chrome", and its version
            && browser.family.as_deref().is_none_or(|own| !own.starts_with(brand.as_str()))
        {
            return Browser { family: Some(brand), version: None };
        }
        browser
    }

    /// Client hints are said on purpose; a user agent is frozen history.
    fn by_hints(&self, device: &mut Device, hints: &Hints<'_>) {
        if let Some(os) = known(os_name(hints.platform)) {
            device.osv = hint_version(&os, &hints.platform_version);
            if device.os.as_ref() != Some(&os) {
                (device.make, device.model) = (None, None);
            }
            device.os = Some(os);
        }
        if let Some(model) = known(hints.model) {
            // the regexes know makers by the model's place in an Android user agent
            let likeness = format!("Mozilla/5.0 (Linux; Android 10; {model}) Mobile Safari/537.36");
            let found = self.extractor.dev.extract(&likeness);
            device.make = found.and_then(|found| found.brand.as_deref().and_then(known));
            device.model = Some(model);
        }
        let is_handheld = matches!(device.os.as_deref(), Some("Android" | "iOS"));
        if is_handheld && device.devicetype.is_none() && device.model.as_deref() != Some("iPad") {
            device.devicetype = hints.is_mobile.map(|is_mobile| if is_mobile { 4 } else { 5 });
        }
    }

    /// What the table knows of the model.
    fn complete(&self, device: &mut Device) {
        let Some(code) = device.model.as_deref() else { return };
        if let Some(model) = self.models.model(code) {
            device.make = Some(model.make.clone());
            device.devicetype = Some(model.devicetype);
            device.name = Some(model.name.clone());
            device.released = (model.released > 0).then_some(model.released);
            device.screen = (model.screen != (0, 0)).then_some(model.screen);
        } else if device.make.is_none() {
            device.make = self.models.make(code).map(str::to_owned);
        }
    }
}

impl fmt::Debug for DeviceDatabase {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DeviceDatabase").field("models", &self.models.len()).finish_non_exhaustive()
    }
}

/// A rule's word over the regexes' guess.
fn apply(device: &mut Device, rule: &Rule) {
    device.is_bot |= rule.is_bot;
    device.devicetype = rule.devicetype.or(device.devicetype);
    device.make = rule.make.clone().or_else(|| device.make.take());
    device.model = rule.model.clone().or_else(|| device.model.take());
    if rule.os.is_some() && rule.os != device.os {
        device.os.clone_from(&rule.os);
        device.osv = None;
    }
}

/// The device type by what is known, where neither table nor rule told it.
fn devicetype(device: &Device, agent: &Agent<'_>) -> Option<u8> {
    let ua = agent.ua;
    let is_browser = ua.contains("Safari/") || ua.contains("Firefox/");
    // "(Mobile; afma-sdk" stands in tablets' user agents too
    let is_phone = ["Mobile Safari", "; Mobile;", "Opera Mobi", "Opera Mini"];
    match (device.os.as_deref()?, device.model.as_deref()) {
        (_, Some(model)) if model.starts_with("iPhone") || model.starts_with("iPod") => Some(4),
        (_, Some(model)) if model.starts_with("iPad") => Some(5),
        ("Android", _) if is_phone.iter().any(|word| ua.contains(word)) => Some(4),
        ("Android", _) if is_browser => Some(5),
        // an app's own user agent: one or the other
        ("Android" | "iOS" | "iPadOS", _) => Some(1),
        ("Windows Phone" | "BlackBerry OS" | "KaiOS" | "Symbian OS" | "HarmonyOS", _) => Some(4),
        ("tvOS" | "webOS" | "Roku" | "Roku OS" | "Tizen TV" | "VIDAA" | "Fire TV", _) => Some(3),
        (
            "Windows" | "macOS" | "Linux" | "Chrome OS" | "Ubuntu" | "Fedora" | "Debian"
            | "FreeBSD" | "OpenBSD",
            _,
        ) => Some(2),
        _ => None,
    }
}

/// One name for one system, whoever names it.
fn os_name(name: &str) -> &str {
    match name {
        "Mac OS X" | "Mac OS" | "macOS" => "macOS",
        "ATV OS X" => "tvOS",
        "Chromium OS" | "Chrome OS" | "ChromeOS" => "Chrome OS",
        "iOS" | "iPhone OS" => "iOS",
        name => name,
    }
}

/// Names that stand for not knowing.
fn known(name: &str) -> Option<String> {
    let name = name.trim();
    let is_unknown = name.is_empty()
        || name.len() > VALUE_BYTES_MAX
        || name.starts_with("Generic")
        || matches!(
            name,
            "Other" | "Unknown" | "K" | "Mobile" | "Smartphone" | "Tablet" | "Feature Phone"
        );
    (!is_unknown).then(|| name.to_owned())
}

/// Parts joined by dots.
fn version<'a>(parts: impl Iterator<Item = &'a str>) -> Option<String> {
    let parts: SmallVec<[&str; 4]> = parts.filter(|part| !part.is_empty()).collect();
    let joined = parts.join(".");
    (!joined.is_empty() && joined.len() <= VALUE_BYTES_MAX).then_some(joined)
}

/// The version in client hints. Windows numbers its feature packs there: 13 and above is 11, and
/// 1 to 10 is 10.
fn hint_version(os: &str, parts: &[&str]) -> Option<String> {
    let major = parts.first().and_then(|part| part.split('.').next()?.parse::<u32>().ok());
    match (os, major) {
        ("Windows", Some(13..)) => Some("11".to_owned()),
        ("Windows", Some(1..13)) => Some("10".to_owned()),
        ("Windows", Some(0)) => None,
        _ => {
            // trailing zeros say nothing: 13.0.0 is 13
            let last = parts.iter().rposition(|part| *part != "0").unwrap_or(0);
            version(parts.iter().copied().take(last.saturating_add(1)))
        }
    }
}

/// The first bytes, whole characters only.
fn cut(text: &str, bytes_max: usize) -> &str {
    // a character has at most 4 bytes, so one of these ends is a boundary
    (0..4)
        .filter_map(|back| bytes_max.checked_sub(back))
        .find_map(|end| text.get(..end.min(text.len())))
        .unwrap_or("")
}

/// Fills the rendered members.
fn render(device: &mut Device) {
    device.rendered = [
        device.devicetype.map(|kind| number(Key::Devicetype, kind)),
        device.make.as_deref().map(|make| text(Key::Make, make)),
        device.model.as_deref().map(|model| text(Key::Model, model)),
        device.os.as_deref().map(|os| text(Key::Os, os)),
        device.osv.as_deref().map(|osv| text(Key::Osv, osv)),
    ]
    .into_iter()
    .flatten()
    .collect();
}
