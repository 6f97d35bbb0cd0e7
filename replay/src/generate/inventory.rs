//! Where synthetic ads are shown: `site`, `app` or `dooh`.
//!
//! Owns: names that are made up (`.example` domains, bundles and publishers by number). A few are
//! frequent and many are rare, as in real traffic.

use super::json::Json;
use super::mix::Mix;
use super::places::Place;
use crate::random::Random;

/// In the order of `Mix::channel`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Channel {
    Site,
    App,
    Dooh,
}

/// See [`Channel`].
pub(super) const CHANNELS: [Channel; 3] = [Channel::Site, Channel::App, Channel::Dooh];

/// Distinct sites, apps or screens of a channel.
const PLACES_OF_A_CHANNEL: f64 = 6_000.0;

/// Writes the channel's object.
pub(super) fn write(
    json: &mut Json,
    random: &mut Random,
    mix: &Mix,
    channel: Channel,
    place: &Place,
) {
    // squared: the first tenth of the names has a third of the traffic
    let number = crate::random::seconds(random.unit().powi(2) * PLACES_OF_A_CHANNEL).as_secs();
    let publisher = number % 700;
    match channel {
        Channel::Site => json.object("site", |json| {
            json.format("id", format_args!("site-{number}"));
            json.format("name", format_args!("Site {number}"));
            json.format("domain", format_args!("site-{number}.example"));
            let (section, page) = (random.below(12), random.below(100_000));
            json.format(
                "page",
                format_args!("https://www.site-{number}.example/section-{section}/{page}.html"),
            );
            if random.chance(0.5) {
                json.format("ref", format_args!("https://search.example/?q={}", page % 977));
            }
            common(json, random, mix, publisher, place);
            json.flag("mobile", random.chance(0.6));
        }),
        Channel::App => json.object("app", |json| {
            json.format("id", format_args!("app-{number}"));
            json.format("name", format_args!("App {number}"));
            json.format("bundle", format_args!("com.example.app{number}"));
            if random.chance(0.7) {
                json.format(
                    "storeurl",
                    format_args!("https://store.example/details?id=com.example.app{number}"),
                );
            }
            let (major, minor) = (random.between(1, 9), random.below(30));
            json.format("ver", format_args!("{major}.{minor}"));
            common(json, random, mix, publisher, place);
            json.flag("paid", random.chance(0.05));
        }),
        Channel::Dooh => json.object("dooh", |json| {
            json.format("id", format_args!("screen-{number}"));
            json.format("name", format_args!("Screen {number}"));
            json.array("venuetype", |json| {
                json.element_format(format_args!("{}", 1 + number % 25));
            });
            json.number("venuetypetax", 1);
            json.object("publisher", |json| json.format("id", format_args!("pub-{publisher}")));
        }),
    }
}

fn common(json: &mut Json, random: &mut Random, mix: &Mix, publisher: u64, place: &Place) {
    let first = random.between(1, 24);
    json.array("cat", |json| {
        json.element_format(format_args!("IAB{first}"));
        if random.chance(0.6) {
            json.element_format(format_args!("IAB{first}-{}", random.between(1, 9)));
        }
    });
    if random.chance(0.4) {
        let (one, two) = (random.below(90), random.below(90));
        json.format("keywords", format_args!("topic{one},topic{two}"));
    }
    json.object("publisher", |json| {
        json.format("id", format_args!("pub-{publisher}"));
        json.format("name", format_args!("Publisher {publisher}"));
        json.format("domain", format_args!("publisher-{publisher}.example"));
    });
    if random.chance(mix.content) {
        json.object("content", |json| {
            json.format("id", format_args!("c{}", random.below(50_000)));
            json.format("title", format_args!("Title {}", random.below(9_000)));
            json.text(
                "genre",
                random.pick::<&str>(&["news", "sports", "drama", "comedy", "music"]),
            );
            json.text("language", place.language);
            json.flag("livestream", random.chance(0.1));
            json.number("len", random.pick(&[30, 300, 1_800, 5_400]));
        });
    }
}
