//! What the user allows, read from the request's privacy signals.
//!
//! Owns: [`decide`], [`Consent`] and [`PrivacySettings`]. Never: an edit of a request (that is `disclosure` as data and
//! `bidder::shape` as bytes), a decoded consent string (that comes with its own work).
//!
//! Invariant: a signal that we cannot read, or cannot judge without decoding it, is the strictest
//! one; nothing a request says makes the reading laxer again.
//!
//! Strict is any of: `regs.coppa` 1 · `device.lmt` 1 · `device.dnt` 1 · `device.ext.atts` 0, 1
//! or 2 (the user was not asked whether the app may track, may not be asked, or said no;
//! `skadnetwork.md`) · Global Privacy Control, `regs.ext.gpc` 1 (`gpc.md`) · `regs.gdpr` 1 · a consent string without a `gdpr` flag
//! that says 0 · a country of [`PrivacySettings`] without such a flag and without a `gpp_sid` · `us_privacy` with the opt-out, or of another form than version 1's four
//! characters · a `gpp_sid` other than -1 · a GPP string without a `gpp_sid` · a signal of the
//! wrong type. What a user's own browser says in `Sec-GPC` and `DNT` counts like `gpc` and `dnt`.
//!
//! `coppa` is stricter than all others, and so it is first. It is never malformed: a request with
//! a `coppa` that is neither 0 nor 1 is refused.

pub mod disclosure;
pub mod form;

use crate::facts::Facts;
use crate::openrtb::ids::Country;
use crate::request::{RegsFields, ValidRequest};
use disclosure::Disclosure;

/// Where the GDPR (in Great Britain the UK GDPR) is the law: the states of the EEA with what has a
/// code of its own and is of the Union (the outermost regions by Article 349 TFEU, and Aland), and
/// Great Britain.
pub const GDPR_COUNTRIES: &str = "ALA AUT BEL BGR CYP CZE DEU DNK ESP EST FIN FRA GBR GLP GRC GUF \
    HRV HUN IRL ISL ITA LIE LTU LUX LVA MAF MLT MTQ MYT NLD NOR POL PRT REU ROU SVK SVN SWE";

/// What is taken for granted where a request does not say it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PrivacySettings {
    /// Sorted. Where the GDPR applies unless a request says that it does not.
    gdpr_countries: Box<[Country]>,
}

impl PrivacySettings {
    /// With the countries where the GDPR applies to whoever does not say otherwise.
    pub fn new(mut gdpr_countries: Vec<Country>) -> Self {
        gdpr_countries.sort_unstable();
        Self { gdpr_countries: gdpr_countries.into() }
    }

    fn is_gdpr_in(&self, country: Country) -> bool {
        self.gdpr_countries.binary_search(&country).is_ok()
    }
}

impl Default for PrivacySettings {
    fn default() -> Self {
        Self::new(GDPR_COUNTRIES.split_whitespace().filter_map(Country::parse).collect())
    }
}

/// The signal that made the reading strict: the first that applies, in this order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Signal {
    /// `regs.coppa` is 1.
    Coppa,
    /// A privacy signal was there and not readable.
    Malformed,
    /// `device.lmt` is 1.
    Limited,
    /// `device.dnt` is 1, or the browser's `DNT` is.
    DoNotTrack,
    /// `device.ext.atts` is 0 (not determined), 1 (restricted) or 2 (denied).
    AppTracking,
    /// `regs.ext.gpc` is 1, or the browser's `Sec-GPC` is.
    GlobalPrivacyControl,
    /// `regs.gdpr` is 1, or a consent string stands without that flag.
    Gdpr,
    /// The request does not say whether the GDPR applies, and the user is where it is the law.
    GdprCountry,
    /// `us_privacy` opts out of sale, or is no such string.
    UsPrivacy,
    /// A GPP section applies that is not decoded yet.
    Gpp,
}

impl Signal {
    /// Short stable code for explanations and metric labels.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Coppa => "coppa",
            Self::Malformed => "malformed",
            Self::Limited => "lmt",
            Self::DoNotTrack => "dnt",
            Self::AppTracking => "atts",
            Self::GlobalPrivacyControl => "gpc",
            Self::Gdpr => "gdpr",
            Self::GdprCountry => "gdpr_country",
            Self::UsPrivacy => "us_privacy",
            Self::Gpp => "gpp",
        }
    }
}

/// What the user allows.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Consent {
    /// Why the strictest reading applies; `None`: nothing restricts this request.
    pub restriction: Option<Signal>,
}

impl Consent {
    /// Whether bidders may be told who the user is.
    pub fn allows_ids(self) -> bool {
        self.restriction.is_none()
    }

    /// What any bidder may be sent. One answer for all bidders until consent is read per vendor.
    pub fn disclosure(self) -> Disclosure {
        match self.restriction {
            None => Disclosure::FULL,
            Some(Signal::Coppa) => Disclosure::CHILD,
            Some(_) => Disclosure::STRICT,
        }
    }
}

/// Reads the request's signals and the browser's. Looked-up facts never loosen them; of them, only
/// a country tightens what no signal speaks of.
pub fn decide(request: &ValidRequest, facts: &Facts, settings: &PrivacySettings) -> Consent {
    let (view, browser) = (&request.view, facts.browser);
    let restriction = if view.regs.is_coppa {
        Some(Signal::Coppa)
    } else if view.regs.is_malformed {
        Some(Signal::Malformed)
    } else if view.device.is_limited {
        Some(Signal::Limited)
    } else if view.device.is_do_not_track || browser.is_do_not_track {
        Some(Signal::DoNotTrack)
    } else if view.device.is_tracking_denied {
        Some(Signal::AppTracking)
    } else if view.regs.is_gpc || browser.is_gpc {
        Some(Signal::GlobalPrivacyControl)
    } else if is_gdpr(&view.regs, !view.user.consent.is_empty()) {
        Some(Signal::Gdpr)
    } else if is_gdpr_by_country(&view.regs, facts, settings) {
        Some(Signal::GdprCountry)
    } else if is_us_opt_out(request.text(view.regs.us_privacy)) {
        Some(Signal::UsPrivacy)
    } else if is_gpp_restricted(request) {
        Some(Signal::Gpp)
    } else {
        None
    };
    Consent { restriction }
}

/// An absent flag means "unknown" (3.2.3): a consent string beside it says that somebody thought
/// the GDPR applies.
fn is_gdpr(regs: &RegsFields, has_consent_string: bool) -> bool {
    regs.gdpr.unwrap_or(has_consent_string)
}

/// Without the flag, whether the GDPR applies goes by where the user is. A `gpp_sid` says it instead:
/// which sections apply, or (-1) that none does.
fn is_gdpr_by_country(regs: &RegsFields, facts: &Facts, settings: &PrivacySettings) -> bool {
    let is_said = regs.gdpr.is_some() || !regs.gpp_sid.is_empty();
    !is_said && facts.country.is_some_and(|country| settings.is_gdpr_in(country))
}

/// The US Privacy string, version 1: the version, then notice, opt-out of sale and LSPA, each one
/// of `Y`, `N` and `-`. Empty: no signal.
fn is_us_opt_out(text: &str) -> bool {
    let is_flag = |flag: &u8| matches!(flag, b'Y' | b'N' | b'-');
    match text.as_bytes() {
        [] => false,
        [b'1', notice, opt_out, lspa] if [notice, opt_out, lspa].into_iter().all(is_flag) => {
            *opt_out == b'Y'
        }
        _ => true,
    }
}

/// Until sections are decoded, one that applies is taken for an opt-out, and so is a string that
/// does not say which of its sections apply. Only -1 says that none does; 0 is not yet determined
/// (GPP, CMP API, "applicableSections").
fn is_gpp_restricted(request: &ValidRequest) -> bool {
    let regs = &request.view.regs;
    let sections = request.numbers(regs.gpp_sid);
    let applies = sections.iter().any(|section| *section != -1);
    applies || (sections.is_empty() && !regs.gpp.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::arrival::{Body, BrowserSignals};
    use crate::request::{List, Text, View};
    use bytes::Bytes;

    /// A request whose text is `text`, with a view that `fill` sets from `(all of it, view)`.
    fn request(text: &'static str, fill: impl FnOnce(Text, &mut View)) -> ValidRequest {
        let mut view = View::default();
        fill(Text { at: 0, len: u32::try_from(text.len()).unwrap() }, &mut view);
        ValidRequest::new(Body(Bytes::from_static(text.as_bytes())), text.into(), Box::new(view))
    }

    fn sections_of(view: &mut View, section: i32) {
        view.numbers = vec![section];
        view.regs.gpp_sid = List { first: 0, len: 1 };
    }

    fn restriction(text: &'static str, fill: impl FnOnce(Text, &mut View)) -> Option<Signal> {
        decide(&request(text, fill), &Facts::default(), &PrivacySettings::default()).restriction
    }

    #[test]
    fn nothing_said_restricts_nothing() {
        assert_eq!(restriction("", |_, _| ()), None);
        assert_eq!(restriction("", |_, view| view.regs.gdpr = Some(false)), None);
    }

    #[test]
    fn each_flag_restricts_alone() {
        type Set = fn(Text, &mut View);
        let cases: [(Set, Signal); 8] = [
            (|_, view| view.regs.is_malformed = true, Signal::Malformed),
            (|_, view| view.regs.is_coppa = true, Signal::Coppa),
            (|_, view| view.device.is_limited = true, Signal::Limited),
            (|_, view| view.device.is_do_not_track = true, Signal::DoNotTrack),
            (|_, view| view.device.is_tracking_denied = true, Signal::AppTracking),
            (|_, view| view.regs.is_gpc = true, Signal::GlobalPrivacyControl),
            (|_, view| view.regs.gdpr = Some(true), Signal::Gdpr),
            (|text, view| view.user.consent = text, Signal::Gdpr),
        ];
        for (set, signal) in cases {
            assert_eq!(restriction("CPc", set), Some(signal), "{}", signal.label());
        }
    }

    #[test]
    fn a_child_is_told_least_of_whatever_else_is_said() {
        let settings = PrivacySettings::default();
        let consent =
            |set: fn(Text, &mut View)| decide(&request("", set), &Facts::default(), &settings);
        let child = consent(|_, view| {
            view.regs.is_coppa = true;
            view.regs.is_malformed = true;
            view.device.is_limited = true;
        });
        assert_eq!(child.disclosure(), Disclosure::CHILD);
        let limited = consent(|_, view| view.device.is_limited = true);
        assert_eq!(limited.disclosure(), Disclosure::STRICT);
        assert_eq!(consent(|_, _| ()).disclosure(), Disclosure::FULL);
    }

    #[test]
    fn what_the_browser_says_restricts_like_the_body() {
        for (is_gpc, is_do_not_track, signal) in [
            (false, false, None),
            (true, false, Some(Signal::GlobalPrivacyControl)),
            (false, true, Some(Signal::DoNotTrack)),
        ] {
            let browser = BrowserSignals { is_gpc, is_do_not_track };
            let facts = Facts { browser, ..Facts::default() };
            let consent = decide(&request("", |_, _| ()), &facts, &PrivacySettings::default());
            assert_eq!(consent.restriction, signal);
        }
    }

    #[test]
    fn where_the_gdpr_is_the_law_it_applies_unless_the_request_says_otherwise() {
        type Set = fn(Text, &mut View);
        let (applies, elsewhere) = (Some(Signal::GdprCountry), None);
        let cases: [(Option<&str>, Set, Option<Signal>); 12] = [
            (None, |_, _| (), elsewhere),
            (Some("USA"), |_, _| (), elsewhere),
            (Some("CHE"), |_, _| (), elsewhere),
            (Some("DEU"), |_, _| (), applies),
            (Some("ISL"), |_, _| (), applies),
            (Some("REU"), |_, _| (), applies),
            (Some("GBR"), |_, _| (), applies),
            (Some("DEU"), |_, view| view.regs.gdpr = Some(false), elsewhere),
            (Some("DEU"), |_, view| view.regs.gdpr = Some(true), Some(Signal::Gdpr)),
            (Some("DEU"), |text, view| view.user.consent = text, Some(Signal::Gdpr)),
            (Some("DEU"), |_, view| sections_of(view, -1), elsewhere),
            (Some("DEU"), |_, view| sections_of(view, 7), Some(Signal::Gpp)),
        ];
        for (country, set, signal) in cases {
            let facts = Facts { country: country.and_then(Country::parse), ..Facts::default() };
            let consent = decide(&request("CPc", set), &facts, &PrivacySettings::default());
            assert_eq!(consent.restriction, signal, "{country:?}");
        }
    }

    #[test]
    fn the_countries_of_the_gdpr_are_a_setting() {
        let facts = Facts { country: Country::parse("DEU"), ..Facts::default() };
        for (countries, signal) in [
            (&[][..], None),
            (&["USA", "BRA"], None),
            (&["USA", "DEU", "BRA"], Some(Signal::GdprCountry)),
        ] {
            let settings = PrivacySettings::new(
                countries.iter().filter_map(|one| Country::parse(one)).collect(),
            );
            let consent = decide(&request("", |_, _| ()), &facts, &settings);
            assert_eq!(consent.restriction, signal, "{countries:?}");
        }
        let default: Vec<&str> = GDPR_COUNTRIES.split_whitespace().collect();
        assert_eq!((default.len(), PrivacySettings::default().gdpr_countries.len()), (38, 38));
        assert!(default.is_sorted());
    }

    #[test]
    fn a_consent_string_where_the_gdpr_does_not_apply_restricts_nothing() {
        let set = |text, view: &mut View| {
            view.user.consent = text;
            view.regs.gdpr = Some(false);
        };
        assert_eq!(restriction("CPc", set), None);
    }

    #[test]
    fn us_privacy_strings_are_read_or_taken_for_an_opt_out() {
        for (text, strict) in [
            ("1---", false),
            ("1NNN", false),
            ("1YNY", false),
            ("1YYN", true),
            ("1-Y-", true),
            ("1yny", true),
            ("2YNN", true),
            ("1YN", true),
            ("1YNNN", true),
            ("null", true),
            ("é-N", true),
        ] {
            let got = restriction(text, |text, view| view.regs.us_privacy = text);
            assert_eq!(got, strict.then_some(Signal::UsPrivacy), "{text}");
        }
    }

    #[test]
    fn a_gpp_section_that_we_cannot_judge_restricts() {
        let cases: [(&[i32], bool, bool); 9] = [
            (&[], false, false),
            (&[], true, true),
            (&[-1], true, false),
            (&[0], true, true),
            (&[0], false, true),
            (&[-1, 0], true, true),
            (&[7], true, true),
            (&[-1, 2], false, true),
            (&[8], false, true),
        ];
        for (sections, has_string, strict) in cases {
            let got = restriction("DBA", |text, view| {
                view.numbers = sections.to_vec();
                view.regs.gpp_sid = List { first: 0, len: u32::try_from(sections.len()).unwrap() };
                if has_string {
                    view.regs.gpp = text;
                }
            });
            assert_eq!(got, strict.then_some(Signal::Gpp), "{sections:?} {has_string}");
        }
    }
}
