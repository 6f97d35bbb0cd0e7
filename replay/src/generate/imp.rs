//! Impressions of synthetic requests.
//!
//! Owns: the `imp` array: sizes, media, floors, deals. Invariant: each imp is one that the
//! standard allows.

use super::json::Json;
use super::mix::Mix;
use super::places::Place;
use crate::random::Random;

/// What an imp offers, in the order of `Mix::media`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Media {
    Banner,
    Video,
    Audio,
    Native,
    /// Banner and one of the others.
    Several,
}

/// See [`Media`].
pub(super) const MEDIA: [Media; 5] =
    [Media::Banner, Media::Video, Media::Audio, Media::Native, Media::Several];

/// What all imps of a request share.
pub(super) struct Context<'a> {
    pub mix: &'a Mix,
    pub place: &'a Place,
    pub is_26: bool,
    pub is_app: bool,
    pub is_dooh: bool,
}

/// What came of an imp, for the count of combinations.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Shape {
    pub media: Media,
    pub has_deal: bool,
    /// Index of the first size.
    pub size: usize,
}

const MOBILE_SIZES: &[(u32, u32)] =
    &[(320, 50), (300, 250), (320, 480), (320, 100), (300, 50), (336, 280), (480, 320)];
const PAGE_SIZES: &[(u32, u32)] =
    &[(300, 250), (728, 90), (160, 600), (300, 600), (970, 250), (970, 90), (320, 50), (468, 60)];
const SCREEN_SIZES: &[(u32, u32)] = &[(1920, 1080), (1080, 1920), (3840, 2160), (1280, 720)];

/// Writes one imp.
pub(super) fn write(
    json: &mut Json,
    random: &mut Random,
    context: &Context,
    media: Media,
    number: usize,
) -> Shape {
    let mix = context.mix;
    let sizes = match (context.is_dooh, context.is_app) {
        (true, _) => SCREEN_SIZES,
        (_, true) => MOBILE_SIZES,
        _ => PAGE_SIZES,
    };
    let first = random.index(sizes.len());
    let has_deal = random.chance(mix.deals);
    let is_interstitial = context.is_app && random.chance(mix.interstitial);
    json.braced(|json| {
        json.format("id", format_args!("{}", number + 1));
        match media {
            Media::Banner => banner(json, random, sizes, first),
            Media::Video => video(json, random, context),
            Media::Audio => audio(json, random),
            Media::Native => native(json, random),
            Media::Several => {
                banner(json, random, sizes, first);
                match random.index(2) {
                    0 => video(json, random, context),
                    _ => native(json, random),
                }
            }
        }
        json.flag("instl", is_interstitial);
        json.format("tagid", format_args!("tag-{:05}", random.below(20_000)));
        if random.chance(mix.floor) {
            floor(json, random, context);
        }
        if random.chance(mix.secure) {
            json.flag("secure", random.chance(0.97));
        }
        if has_deal {
            deals(json, random, context);
        }
        rest(json, random, context);
    });
    Shape { media, has_deal, size: first }
}

/// What an imp may say besides.
fn rest(json: &mut Json, random: &mut Random, context: &Context) {
    let mix = context.mix;
    if context.is_app {
        json.format("displaymanager", format_args!("sdk-{}", random.below(9)));
        let (major, minor) = (random.between(4, 12), random.below(20));
        json.format("displaymanagerver", format_args!("{major}.{minor}"));
    }
    if context.is_dooh {
        json.object("qty", |json| {
            json.format_number("multiplier", format_args!("{:.1}", 1.0 + random.unit() * 20.0));
            json.number("sourcetype", 1);
            json.text("vendor", "measure.example");
        });
    }
    let is_rewarded = context.is_app && random.chance(mix.rewarded);
    if is_rewarded && context.is_26 {
        json.flag("rwdd", true);
    }
    if random.chance(0.3) {
        json.number("exp", random.pick(&[300, 600, 3_600]));
    }
    if random.chance(mix.metric) {
        json.array("metric", |json| {
            json.braced(|json| {
                json.text("type", "viewability");
                json.format_number("value", format_args!("{:.2}", random.unit()));
                json.text("vendor", "measure.example");
            });
        });
    }
    if random.chance(mix.imp_ext) {
        json.object("ext", |json| {
            json.format("gpid", format_args!("/{}/slot-{}", random.below(900), random.below(400)));
            if is_rewarded {
                json.flag("rewarded", true);
            }
            json.object("skadn", |json| {
                json.text("version", "4.0");
                json.texts("versions", ["2.2", "3.0", "4.0"]);
            });
        });
    }
}

fn banner(json: &mut Json, random: &mut Random, sizes: &[(u32, u32)], first: usize) {
    let more = random.weighted(&[0.55, 0.25, 0.12, 0.08]);
    json.object("banner", |json| {
        let (w, h) = sizes[first];
        if more > 0 {
            json.array("format", |json| {
                for step in 0..=more {
                    let (w, h) = sizes[(first + step) % sizes.len()];
                    json.braced(|json| {
                        json.number("w", w);
                        json.number("h", h);
                    });
                }
            });
        }
        json.number("w", w);
        json.number("h", h);
        json.number("pos", random.pick(&[0, 1, 1, 3, 7]));
        if random.chance(0.5) {
            json.numbers("battr", &[1, 3, 8, 9, 13]);
        }
        if random.chance(0.3) {
            json.numbers("btype", &[4]);
        }
        if random.chance(0.3) {
            json.texts("mimes", ["image/jpeg", "image/png", "text/html"]);
        }
        if random.chance(0.6) {
            json.numbers("api", &[3, 5, 6, 7]);
        }
    });
}

fn video(json: &mut Json, random: &mut Random, context: &Context) {
    json.object("video", |json| {
        json.texts("mimes", ["video/mp4", "video/webm", "application/javascript"]);
        json.number("minduration", random.pick(&[0, 3, 5]));
        json.number("maxduration", random.pick(&[15, 30, 60, 90]));
        json.numbers("protocols", &[2, 3, 5, 6, 7, 8]);
        let (w, h) = *random.pick(&[(640, 360), (1280, 720), (1920, 1080), (320, 480)]);
        json.number("w", w);
        json.number("h", h);
        json.number("startdelay", random.pick(&[0, 0, 0, -1, 30]));
        json.number("placement", random.between(1, 5));
        if context.is_26 {
            json.number("plcmt", random.between(1, 4));
        }
        json.number("linearity", 1);
        json.flag("skip", random.chance(0.5));
        json.numbers("playbackmethod", &[2, 6]);
        json.numbers("delivery", &[2]);
        json.numbers("api", &[1, 2, 7]);
        if random.chance(0.4) {
            json.numbers("battr", &[13, 14, 17]);
        }
    });
}

fn audio(json: &mut Json, random: &mut Random) {
    json.object("audio", |json| {
        json.texts("mimes", ["audio/mp4", "audio/mpeg", "audio/ogg"]);
        json.number("minduration", 5);
        json.number("maxduration", random.pick(&[15, 30, 60]));
        json.numbers("protocols", &[9, 10, 2, 3]);
        json.number("startdelay", random.pick(&[0, -1, -2]));
        json.number("feed", random.between(1, 3));
        json.flag("stitched", random.chance(0.5));
    });
}

fn native(json: &mut Json, random: &mut Random) {
    let mut request = Vec::new();
    Json(&mut request).document(|json| {
        json.text("ver", "1.2");
        json.number("context", random.between(1, 3));
        json.number("plcmttype", random.between(1, 4));
        json.array("assets", |json| {
            json.braced(|json| {
                json.number("id", 1);
                json.flag("required", true);
                json.object("title", |json| json.number("len", random.pick(&[25, 90, 140])));
            });
            json.braced(|json| {
                json.number("id", 2);
                json.flag("required", true);
                json.object("img", |json| {
                    json.number("type", 3);
                    json.number("wmin", random.pick(&[300, 600, 1200]));
                    json.number("hmin", random.pick(&[157, 314, 627]));
                });
            });
            if random.chance(0.7) {
                json.braced(|json| {
                    json.number("id", 3);
                    json.object("data", |json| {
                        json.number("type", 2);
                        json.number("len", random.pick(&[90, 140]));
                    });
                });
            }
        });
        json.array("eventtrackers", |json| {
            json.braced(|json| {
                json.number("event", 1);
                json.numbers("methods", &[1, 2]);
            });
        });
    });
    json.object("native", |json| {
        json.quoted("request", &request);
        json.text("ver", "1.2");
        json.numbers("api", &[3, 5]);
    });
}

fn floor(json: &mut Json, random: &mut Random, context: &Context) {
    let price = random.lognormal(context.mix.floor_median, context.mix.floor_sigma);
    let is_local = random.chance(context.mix.floor_in_local_currency);
    // the yen has no hundredths, and a thousand of them is about seven dollars
    let (price, currency) = match (is_local, context.place.currency) {
        (true, "JPY") => (price * 150.0, "JPY"),
        (true, currency) => (price, currency),
        (false, _) => (price, "USD"),
    };
    json.format_number("bidfloor", format_args!("{price:.2}"));
    json.text("bidfloorcur", currency);
}

fn deals(json: &mut Json, random: &mut Random, context: &Context) {
    let count = 1 + random.weighted(&[0.6, 0.25, 0.1, 0.05]) as u64;
    let start = random.below(400);
    json.object("pmp", |json| {
        json.flag("private_auction", random.chance(context.mix.private_auction));
        json.array("deals", |json| {
            for step in 0..count {
                json.braced(|json| {
                    json.format("id", format_args!("deal-{:04}", start + step * 7));
                    json.format_number(
                        "bidfloor",
                        format_args!("{:.2}", 1.0 + random.unit() * 6.0),
                    );
                    json.text("bidfloorcur", "USD");
                    json.number("at", random.pick(&[1, 2, 3]));
                    if random.chance(0.3) {
                        json.array("wseat", |json| {
                            json.element_format(format_args!("seat-{}", random.below(50)));
                        });
                    }
                });
            }
        });
    });
}
