//! Devices of synthetic users: user agents and what goes with them.
//!
//! Owns: templates of user agents with their versions and models, and the `device` object. Never:
//! a user agent that was copied from somewhere: all are put together here. Invariant: client
//! addresses come from ranges that are reserved for tests (198.18.0.0/15 and 2001:db8::/32).

use super::json::Json;
use super::mix::Mix;
use super::places::Place;
use crate::random::Random;
use std::net::Ipv6Addr;

/// Kinds, in the order of `Mix::device`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    Android,
    Iphone,
    Tablet,
    Desktop,
    Television,
    Console,
    Bot,
}

/// See [`Kind`].
pub(super) const KINDS: [Kind; 7] = [
    Kind::Android,
    Kind::Iphone,
    Kind::Tablet,
    Kind::Desktop,
    Kind::Television,
    Kind::Console,
    Kind::Bot,
];

/// A device, drawn once and then written.
pub(super) struct Device {
    pub kind: Kind,
    pub ua: String,
    make: &'static str,
    model: &'static str,
    os: &'static str,
    osv: String,
    /// AdCOM device type.
    devicetype: u32,
    screen: (u32, u32),
    /// Major version of Chromium, where the browser is one.
    chromium: Option<u64>,
}

const PHONES: &[(&str, &str)] = &[
    ("Samsung", "SM-G991B"),
    ("Samsung", "SM-A546B"),
    ("Samsung", "SM-S918U"),
    ("Samsung", "SM-A136U"),
    ("Samsung", "SM-G781B"),
    ("Samsung", "SM-A155F"),
    ("Google", "Pixel 6a"),
    ("Google", "Pixel 7"),
    ("Google", "Pixel 8 Pro"),
    ("Xiaomi", "2201117TG"),
    ("Xiaomi", "M2101K6G"),
    ("Xiaomi", "23021RAA2Y"),
    ("OnePlus", "CPH2447"),
    ("OPPO", "CPH2385"),
    ("vivo", "V2140"),
    ("realme", "RMX3501"),
    ("motorola", "moto g power (2022)"),
    ("motorola", "moto g(30)"),
    ("HUAWEI", "ELE-L29"),
    ("Nokia", "Nokia G20"),
];

const TABLETS: &[(&str, &str)] =
    &[("Samsung", "SM-T510"), ("Samsung", "SM-X200"), ("Lenovo", "TB-X606F"), ("Amazon", "KFMAWI")];

const TELEVISIONS: &[(&str, &str, &str)] = &[
    (
        "Samsung",
        "Tizen",
        "Mozilla/5.0 (SMART-TV; LINUX; Tizen {v}) AppleWebKit/537.36 (KHTML, like Gecko) {v} TV Safari/537.36",
    ),
    (
        "LG",
        "webOS",
        "Mozilla/5.0 (Web0S; Linux/SmartTV) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/94.0.4606.128 Safari/537.36 WebAppManager/{v}",
    ),
    ("Roku", "Roku OS", "Roku/DVP-{v} (12.{v}.4182-88)"),
    (
        "Amazon",
        "Fire OS",
        "Mozilla/5.0 (Linux; Android 9; AFTMM Build/PS76{v}) AppleWebKit/537.36 (KHTML, like Gecko) Version/4.0 Chrome/98.0.4758.101 Mobile Safari/537.36",
    ),
    ("Apple", "tvOS", "AppleCoreMedia/1.0.0.20J373 (Apple TV; U; CPU OS {v} like Mac OS X; en_us)"),
    (
        "Sony",
        "Android TV",
        "Mozilla/5.0 (Linux; Android 10; BRAVIA 4K VH2 Build/QTG3.{v}) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/108.0.5359.128 Safari/537.36",
    ),
];

const CONSOLES: &[(&str, &str, &str)] = &[
    (
        "Sony",
        "PlayStation 5",
        "Mozilla/5.0 (PlayStation; PlayStation 5/{v}) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/15.4 Safari/605.1.15",
    ),
    (
        "Microsoft",
        "Xbox Series X",
        "Mozilla/5.0 (Windows NT 10.0; Win64; x64; Xbox; Xbox Series X) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{v}.0.0.0 Safari/537.36 Edge/44.18363.8131",
    ),
    (
        "Nintendo",
        "Switch",
        "Mozilla/5.0 (Nintendo Switch; WebApplet) AppleWebKit/609.4 (KHTML, like Gecko) NF/6.0.2.{v} NintendoBrowser/5.1.0.23519",
    ),
];

const BOTS: &[&str] = &[
    "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)",
    "Mozilla/5.0 (compatible; bingbot/2.0; +http://www.bing.com/bingbot.htm)",
    "Mozilla/5.0 (compatible; ExampleBot/{v}.0; +https://bot.example/)",
    "python-requests/2.{v}.0",
];

/// Draws one of a kind.
pub(super) fn draw(random: &mut Random, kind: Kind) -> Device {
    match kind {
        Kind::Android => android(random, PHONES, 4),
        Kind::Iphone => apple(random, "iPhone", 4),
        Kind::Tablet if random.chance(0.5) => apple(random, "iPad", 5),
        Kind::Tablet => android(random, TABLETS, 5),
        Kind::Desktop => desktop(random),
        Kind::Television => {
            let (make, os, template) = *random.pick(TELEVISIONS);
            from_template(random, kind, (make, "TV", os), template, 3)
        }
        Kind::Console => {
            let (make, model, template) = *random.pick(CONSOLES);
            from_template(random, kind, (make, model, ""), template, 6)
        }
        Kind::Bot => {
            let template = *random.pick(BOTS);
            from_template(random, kind, ("", "", ""), template, 2)
        }
    }
}

fn from_template(
    random: &mut Random,
    kind: Kind,
    (make, model, os): (&'static str, &'static str, &'static str),
    template: &str,
    devicetype: u32,
) -> Device {
    let version = random.between(5, 16);
    Device {
        kind,
        ua: template.replace("{v}", &version.to_string()),
        make,
        model,
        os,
        osv: format!("{version}.0"),
        devicetype,
        screen: (1920, 1080),
        chromium: None,
    }
}

/// Version numbers are skewed to the newest, as in real traffic, so that caches see repetition.
fn recent(random: &mut Random, newest: u64, span: u64) -> u64 {
    let age = random.unit().powi(3) * span as f64;
    newest - seconds_floor(age).min(span)
}

/// The whole part of a small number that is not negative.
fn seconds_floor(number: f64) -> u64 {
    crate::random::seconds(number).as_secs()
}

fn android(
    random: &mut Random,
    models: &[(&'static str, &'static str)],
    devicetype: u32,
) -> Device {
    let skewed = random.unit() * random.unit() * models.len() as f64;
    let index = usize::try_from(seconds_floor(skewed)).unwrap_or(0);
    let (make, model) = models[index.min(models.len() - 1)];
    let (version, chrome) = (recent(random, 15, 7), recent(random, 131, 30));
    let build = 6_000 + chrome * 37 % 900;
    let patch = random.below(4) * 31 + 40;
    let mobile = if devicetype == 4 { "Mobile " } else { "" };
    let view = if random.chance(0.4) { "; wv" } else { "" };
    let app = if view.is_empty() { "" } else { "Version/4.0 " };
    Device {
        kind: if devicetype == 4 { Kind::Android } else { Kind::Tablet },
        ua: format!(
            "Mozilla/5.0 (Linux; Android {version}; {model}{view}) AppleWebKit/537.36 (KHTML, \
             like Gecko) {app}Chrome/{chrome}.0.{build}.{patch} {mobile}Safari/537.36"
        ),
        make,
        model,
        os: "Android",
        osv: version.to_string(),
        devicetype,
        screen: *random.pick(&[(360, 800), (393, 873), (412, 915), (384, 854)]),
        chromium: Some(chrome),
    }
}

fn apple(random: &mut Random, model: &'static str, devicetype: u32) -> Device {
    let (major, minor, patch) = (recent(random, 18, 5), random.below(7), random.below(3));
    let system = if devicetype == 4 { "iPhone OS" } else { "OS" };
    let tail = match random.index(3) {
        0 => String::new(),
        1 => format!(" Version/{major}.{minor} Safari/604.1"),
        _ => format!(" [Version/{major}]"),
    };
    Device {
        kind: if devicetype == 4 { Kind::Iphone } else { Kind::Tablet },
        ua: format!(
            "Mozilla/5.0 ({model}; CPU {system} {major}_{minor}_{patch} like Mac OS X) \
             AppleWebKit/605.1.15 (KHTML, like Gecko) Mobile/15E148{tail}"
        ),
        make: "Apple",
        model,
        os: "iOS",
        osv: format!("{major}.{minor}.{patch}"),
        devicetype,
        screen: *random.pick(&[(390, 844), (375, 667), (430, 932), (810, 1080)]),
        chromium: None,
    }
}

fn desktop(random: &mut Random) -> Device {
    let (chrome, firefox) = (recent(random, 131, 20), recent(random, 133, 18));
    let (system, os, osv) = *random.pick(&[
        ("Windows NT 10.0; Win64; x64", "Windows", "10.0"),
        ("Windows NT 10.0; Win64; x64", "Windows", "10.0"),
        ("Macintosh; Intel Mac OS X 10_15_7", "macOS", "10.15.7"),
        ("X11; Linux x86_64", "Linux", ""),
        ("X11; CrOS x86_64 14541.0.0", "ChromeOS", "14541.0.0"),
    ]);
    let kind = random.index(10);
    let (agent, chromium) = match kind {
        0..=4 => (
            format!("AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36"),
            Some(chrome),
        ),
        5 | 6 => (
            format!(
                "AppleWebKit/537.36 (KHTML, like Gecko) Chrome/{chrome}.0.0.0 Safari/537.36 Edg/{chrome}.0.0.0"
            ),
            Some(chrome),
        ),
        7 | 8 => (format!("Gecko/20100101 Firefox/{firefox}.0"), None),
        _ => (
            format!(
                "AppleWebKit/605.1.15 (KHTML, like Gecko) Version/{}.{} Safari/605.1.15",
                recent(random, 18, 4),
                random.below(7)
            ),
            None,
        ),
    };
    let revision = if matches!(kind, 7 | 8) { format!("; rv:{firefox}.0") } else { String::new() };
    Device {
        kind: Kind::Desktop,
        ua: format!("Mozilla/5.0 ({system}{revision}) {agent}"),
        make: "",
        model: "",
        os,
        osv: osv.to_owned(),
        devicetype: 2,
        screen: *random.pick(&[(1920, 1080), (1536, 864), (1440, 900), (2560, 1440)]),
        chromium,
    }
}

/// Writes `device`.
pub(super) fn write(
    json: &mut Json,
    random: &mut Random,
    mix: &Mix,
    device: &Device,
    place: &Place,
    is_limited: bool,
) {
    json.object("device", |json| {
        json.text("ua", &device.ua);
        write_address(json, random, mix);
        if random.chance(mix.geo) {
            write_geo(json, random, mix, place);
        }
        json.number("devicetype", device.devicetype);
        if random.chance(mix.make_model) && !device.make.is_empty() {
            json.text("make", device.make);
            json.text("model", device.model);
        }
        if random.chance(mix.make_model) && !device.os.is_empty() {
            json.text("os", device.os);
            json.text("osv", &device.osv);
        }
        if random.chance(mix.screen) {
            json.number("w", device.screen.0);
            json.number("h", device.screen.1);
        }
        if random.chance(mix.language) {
            json.text("language", place.language);
        }
        if random.chance(mix.carrier) {
            json.format("carrier", format_args!("Carrier {}", random.below(40)));
        }
        if random.chance(mix.connectiontype) {
            json.number("connectiontype", random.pick(&[1, 2, 2, 2, 5, 6, 6, 7]));
        }
        json.flag("js", device.kind != Kind::Television);
        json.flag("lmt", is_limited);
        json.flag("dnt", is_limited && random.chance(0.5));
        if let Some(version) = device.chromium.filter(|_| random.chance(mix.sua)) {
            write_sua(json, device, version);
        }
    });
}

fn write_address(json: &mut Json, random: &mut Random, mix: &Mix) {
    let is_v6 = random.chance(mix.ipv6);
    // hosts come back, as they do in real traffic: a quarter of a million addresses, skewed
    let host = seconds_floor(random.unit().powi(2) * 131_072.0).min(131_071);
    if !is_v6 || random.chance(0.2) {
        let (second, third, fourth) = (18 + (host >> 16), (host >> 8) & 255, host & 255);
        json.format("ip", format_args!("198.{second}.{third}.{fourth}"));
    }
    if is_v6 {
        let prefix = u128::from(Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 0));
        let net = u128::from(host & 0xffff) << 80;
        let address = Ipv6Addr::from(prefix | net | u128::from(random.bits()));
        json.format("ipv6", format_args!("{address}"));
    }
}

fn write_geo(json: &mut Json, random: &mut Random, mix: &Mix, place: &Place) {
    let (city, region, latitude, longitude) = *random.pick(place.cities);
    json.object("geo", |json| {
        if random.chance(mix.geo_country) {
            json.text("country", place.country);
            json.text("region", region);
            json.text("city", city);
        }
        if random.chance(mix.geo_zip) {
            json.format("zip", format_args!("{:05}", random.between(1_000, 99_999)));
        }
        if random.chance(mix.geo_point) {
            let near = |at: f64, random: &mut Random| at + (random.unit() - 0.5) * 0.2;
            json.format_number("lat", format_args!("{:.4}", near(latitude, random)));
            json.format_number("lon", format_args!("{:.4}", near(longitude, random)));
            json.number("type", random.pick(&[1, 2, 2]));
        }
        json.number("utcoffset", place.utcoffset);
    });
}

fn write_sua(json: &mut Json, device: &Device, chromium: u64) {
    let major = device.osv.split('.').next().unwrap_or("");
    json.object("sua", |json| {
        json.array("browsers", |json| {
            for (brand, version) in
                [("Chromium", chromium), ("Google Chrome", chromium), ("Not_A Brand", 24)]
            {
                json.braced(|json| {
                    json.text("brand", brand);
                    json.array("version", |json| json.element_format(format_args!("{version}")));
                });
            }
        });
        json.object("platform", |json| {
            json.text("brand", device.os);
            json.texts("version", [major]);
        });
        json.flag("mobile", device.devicetype == 4);
        json.text("model", device.model);
        json.number("source", 2);
    });
}
