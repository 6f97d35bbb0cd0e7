//! Users, privacy signals and the chain of sellers of synthetic requests.
//!
//! Owns: `user`, `regs`, `source`. Never: a person; ids are drawn. Both placements are written:
//! 2.6 has `gdpr`, `consent`, `eids` and `schain` in their objects, 2.5 in their `ext`.

use super::consent;
use super::json::Json;
use super::mix::Mix;
use super::places::{Place, Regime};
use crate::random::Random;

/// What the user allows, for the count of combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Consent {
    /// No law speaks.
    Free,
    GdprGiven,
    GdprRefused,
    UsFree,
    UsOptOut,
    Child,
}

/// Draws what the user allows.
pub(super) fn draw(random: &mut Random, mix: &Mix, place: &Place) -> Consent {
    if random.chance(mix.coppa) {
        return Consent::Child;
    }
    match place.regime {
        Regime::Gdpr if random.chance(mix.consent_given) => Consent::GdprGiven,
        Regime::Gdpr => Consent::GdprRefused,
        Regime::UsPrivacy if random.chance(mix.opt_out) => Consent::UsOptOut,
        Regime::UsPrivacy => Consent::UsFree,
        Regime::None => Consent::Free,
    }
}

/// Writes `regs`.
pub(super) fn write_regs(json: &mut Json, random: &mut Random, consent: Consent, is_26: bool) {
    let has_gpp = is_26 && matches!(consent, Consent::UsFree | Consent::UsOptOut);
    let has_gpp = has_gpp && random.chance(0.3);
    let moved = |json: &mut Json| {
        match consent {
            Consent::GdprGiven | Consent::GdprRefused => json.flag("gdpr", true),
            Consent::UsFree => json.text("us_privacy", "1YNN"),
            Consent::UsOptOut => json.text("us_privacy", "1YYN"),
            Consent::Free | Consent::Child => {}
        }
        if has_gpp {
            // the section of US privacy: the same word in GPP's wrapping
            let word = if consent == Consent::UsFree { "1YNN" } else { "1YYN" };
            json.format("gpp", format_args!("DBABTA~{word}"));
            json.numbers("gpp_sid", &[6]);
        }
    };
    json.object("regs", |json| {
        json.flag("coppa", consent == Consent::Child);
        if is_26 {
            moved(json);
        } else {
            json.object("ext", moved);
        }
    });
}

/// Writes `user`.
pub(super) fn write_user(
    json: &mut Json,
    random: &mut Random,
    mix: &Mix,
    consent: Consent,
    is_26: bool,
) {
    let is_given = consent == Consent::GdprGiven;
    let has_string = matches!(consent, Consent::GdprGiven | Consent::GdprRefused);
    let string = has_string.then(|| consent::tcf(random, is_given));
    let sources = if random.chance(mix.eids) { random.between(1, 4) } else { 0 };
    let ids: Vec<u64> = (0..sources).map(|_| random.bits()).collect();
    let moved = |json: &mut Json| {
        if let Some(string) = &string {
            json.text("consent", string);
        }
        if !ids.is_empty() {
            json.array("eids", |json| {
                for (number, id) in ids.iter().enumerate() {
                    json.braced(|json| {
                        json.format("source", format_args!("ids-{number}.example"));
                        json.array("uids", |json| {
                            json.braced(|json| {
                                json.format("id", format_args!("{id:016x}"));
                                json.number("atype", 1 + number % 3);
                            });
                        });
                    });
                }
            });
        }
    };
    json.object("user", |json| {
        if random.chance(mix.user_id) {
            json.format("id", format_args!("{:016x}", random.bits()));
        }
        if random.chance(mix.buyeruid) {
            json.format("buyeruid", format_args!("b-{:012x}", random.bits() >> 16));
        }
        if random.chance(mix.user_data) {
            json.array("data", |json| {
                json.braced(|json| {
                    json.text("name", "segments.example");
                    json.array("segment", |json| {
                        for _ in 0..random.between(1, 5) {
                            let segment = random.below(900);
                            json.braced(|json| json.format("id", format_args!("s{segment}")));
                        }
                    });
                });
            });
        }
        if is_26 {
            moved(json);
        } else if string.is_some() || !ids.is_empty() {
            json.object("ext", moved);
        }
    });
}

/// Writes `source`.
pub(super) fn write_source(json: &mut Json, random: &mut Random, mix: &Mix, is_26: bool) {
    let nodes = if random.chance(mix.schain) { random.between(1, 3) } else { 0 };
    let first = random.below(700);
    let chain = |json: &mut Json| {
        json.object("schain", |json| {
            json.number("complete", 1);
            json.text("ver", "1.0");
            json.array("nodes", |json| {
                for node in 0..nodes {
                    json.braced(|json| {
                        json.format("asi", format_args!("exchange-{node}.example"));
                        json.format("sid", format_args!("pub-{}", first + node * 31));
                        json.number("hp", 1);
                    });
                }
            });
        });
    };
    json.object("source", |json| {
        json.flag("fd", false);
        json.format("tid", format_args!("{:016x}{:016x}", random.bits(), random.bits()));
        match (nodes, is_26) {
            (0, _) => {}
            (_, true) => chain(json),
            (_, false) => json.object("ext", chain),
        }
    });
}
