//! What an impression can show.
//!
//! Owns: the reading of `Banner` (3.2.6), `Format` (3.2.10), `Video` (3.2.7), `Audio` (3.2.8) and
//! `Native` (3.2.9), and of `DurFloors` (3.2.35), which deals have too. Never: a rule that needs the imp around them (`validate`).

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk, end, since};
use crate::json::scratch::Scratch;
use crate::json::unique::Unique;
use crate::json::value::{Kind, Members, Value};
use crate::money::{Cpm, CpmPerSecond};
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::Media;
use crate::request::stream::{ByDuration, DurFloor, Pod, PriceSpot, Slots, SpotPrice, Stream};
use crate::request::{Banner, Key, List, Native, Ratio, Size};

/// What is written into a video or an audio, and read of a floor by duration, in its own letters.
const STREAM: [Key; 2] = [Key::Mincpmpersec, Key::Durfloors];
const DUR_FLOOR: [Key; 3] = [Key::Mindur, Key::Maxdur, Key::Bidfloor];

/// The numbers of a size: of a `Format`, or of a `Banner` itself.
#[derive(Default)]
struct Measure {
    size: Size,
    wratio: u32,
    hratio: u32,
    wmin: u32,
    /// With these (and `wmin`) a banner of 2.2 to 2.5 names a range of sizes.
    hmin: u32,
    wmax: u32,
    hmax: u32,
}

impl Measure {
    fn is_fixed(&self) -> bool {
        self.size.w > 0 && self.size.h > 0
    }

    /// A flexible size.
    fn ratio(&self) -> Option<Ratio> {
        let ratio = Ratio { w: self.wratio, h: self.hratio, wmin: self.wmin };
        (ratio.w > 0 && ratio.h > 0).then_some(ratio)
    }

    /// Takes a member that is a number of a size.
    fn read(&mut self, reader: &mut Reader<'_>, key: Key, value: Value<'_>) -> Result<(), Refusal> {
        let number = match reader.narrow::<u32>(value, Field::BannerSize) {
            Ok(number) => number.unwrap_or_default(),
            Err(Refusal::NumberOutOfRange) => return Err(Refusal::BannerSize),
            Err(refusal) => return Err(refusal),
        };
        match key {
            Key::W => self.size.w = number,
            Key::H => self.size.h = number,
            Key::Wratio => self.wratio = number,
            Key::Hratio => self.hratio = number,
            Key::Wmin => self.wmin = number,
            Key::Hmin => self.hmin = number,
            Key::Wmax => self.wmax = number,
            _ => self.hmax = number,
        }
        Ok(())
    }

    /// The range, where there is one. A dimension without bounds is exact where it is named
    /// (2.3 to 2.5, 3.2.6); with them it is one that is preferred.
    fn range(&self) -> Option<(Size, Size)> {
        let bounds =
            |own, least, most| if least == 0 && most == 0 { (own, own) } else { (least, most) };
        let (w, h) =
            (bounds(self.size.w, self.wmin, self.wmax), bounds(self.size.h, self.hmin, self.hmax));
        let is_range = [self.wmin, self.wmax, self.hmin, self.hmax].into_iter().any(|n| n > 0);
        is_range.then_some((Size { w: w.0, h: h.0 }, Size { w: w.1, h: h.1 }))
    }
}

/// `imp.banner`.
pub fn banner(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Banner, Refusal> {
    let mut banner = Banner::default();
    let mut own = Measure::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Format => formats(reader, &mut banner, value)?,
            Key::W | Key::H | Key::Wmin | Key::Hmin | Key::Wmax | Key::Hmax => {
                own.read(reader, entry.key, value)?;
            }
            Key::Battr => banner.battr = reader.numbers(value, Field::BannerBattr)?,
            _ => {}
        }
    }
    if banner.sizes.is_empty() && banner.ratios.is_empty() {
        let first = end(&reader.view.sizes);
        reader.view.sizes.extend(own.is_fixed().then_some(own.size));
        banner.sizes = since(&reader.view.sizes, first);
        if let Some((least, most)) = own.range() {
            (banner.is_ranged, banner.least, banner.most) = (true, least, most);
        }
    }
    Ok(banner)
}

/// `format`: each names a size with two positive numbers, or a ratio.
fn formats(reader: &mut Reader<'_>, banner: &mut Banner, value: Value<'_>) -> Result<(), Refusal> {
    let Some(formats) = reader.array(value, Field::BannerFormat)? else { return Ok(()) };
    let (first, first_ratio) = (end(&reader.view.sizes), end(&reader.view.ratios));
    for format in formats {
        let Some(members) = reader.object(format, Field::BannerFormat)? else { continue };
        let mut measure = Measure::default();
        let mut walk = Walk::over(members);
        while let Some(entry) = walk.next(reader)? {
            if matches!(entry.key, Key::W | Key::H | Key::Wratio | Key::Hratio | Key::Wmin) {
                measure.read(reader, entry.key, entry.value)?;
            }
        }
        let ratio = measure.ratio();
        if !measure.is_fixed() && ratio.is_none() {
            return Err(Refusal::BannerSize);
        }
        reader.view.sizes.extend(measure.is_fixed().then_some(measure.size));
        reader.view.ratios.extend(ratio);
    }
    banner.sizes = since(&reader.view.sizes, first);
    banner.ratios = since(&reader.view.ratios, first_ratio);
    Ok(())
}

/// `imp.video` or `imp.audio`.
pub fn stream(
    reader: &mut Reader<'_>,
    members: Members<'_>,
    media: Media,
) -> Result<Stream, Refusal> {
    let (mut stream, mut pod) = (Stream::default(), Pod::default());
    let mut walk = Walk::over(members).of(&STREAM);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Mimes => stream.mimes = reader.texts(value, Field::StreamMimes)?,
            Key::Minduration => {
                stream.minduration = seconds(reader, value, Field::StreamMinduration, media)?;
            }
            Key::Maxduration => {
                stream.maxduration = seconds(reader, value, Field::StreamMaxduration, media)?;
            }
            Key::Rqddurs => stream.rqddurs = reader.numbers(value, Field::StreamRqddurs)?,
            Key::Battr => stream.battr = reader.numbers(value, Field::StreamBattr)?,
            Key::Podid => pod.id = reader.text(value, Field::StreamPod)?,
            Key::Poddur => {
                pod.seconds = seconds(reader, value, Field::StreamPod, media)?.unwrap_or(0);
            }
            Key::Maxseq => pod.ads = seconds(reader, value, Field::StreamPod, media)?.unwrap_or(0),
            Key::Slotinpod => {
                pod.slots = Slots::of(reader.known(value, Field::StreamPod)?.unwrap_or_default());
            }
            Key::Poddedupe => pod.dedupe = reader.numbers(value, Field::StreamPod)?,
            Key::Maxextended => {
                stream.maxextended =
                    reader.known(value, Field::StreamMaxextended)?.unwrap_or_default();
            }
            _ => by_duration(reader, &mut stream.floors, (entry.key, value), None)?,
        }
    }
    stream.pod = (pod.seconds > 0 || !pod.id.is_empty()).then_some(pod);
    Ok(stream)
}

/// Takes `mincpmpersec` or `durfloors`, of a video, an audio or a deal (its index).
pub fn by_duration(
    reader: &mut Reader<'_>,
    floors: &mut ByDuration,
    (key, value): (Key, Value<'_>),
    deal: Option<u32>,
) -> Result<(), Refusal> {
    match key {
        Key::Mincpmpersec => {
            let (floor, is_raised) = reader.floor_per_second(value, Field::Mincpmpersec)?;
            floors.per_second = floor;
            spot(reader, value, (SpotPrice::BySecond(floor), is_raised), deal);
        }
        Key::Durfloors => floors.ranges = dur_floors(reader, value, deal)?,
        _ => {}
    }
    Ok(())
}

/// Takes note of where a floor stands. What is zero says nothing and is never edited, but for a range
/// of an imp's, which the partner's own floor may raise.
pub fn spot(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    (price, is_raised): (SpotPrice, bool),
    deal: Option<u32>,
) {
    let is_silent = match price {
        SpotPrice::Flat(floor) => floor == Cpm::ZERO && deal.is_some(),
        SpotPrice::BySecond(floor) => floor == CpmPerSecond::default(),
    };
    if !is_silent {
        reader.view.price_spots.push(PriceSpot { at: value.span(), price, is_raised, deal });
    }
}

/// `durfloors`: a range without an end goes as far as there are durations.
fn dur_floors(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    deal: Option<u32>,
) -> Result<List, Refusal> {
    let first = end(&reader.view.dur_floors);
    for range in reader.array(value, Field::Durfloors)?.into_iter().flatten() {
        let Some(members) = reader.object(range, Field::Durfloors)? else { continue };
        let mut read = DurFloor { least: 0, most: u32::MAX, bidfloor: Cpm::ZERO };
        let mut walk = Walk::over(members).of(&DUR_FLOOR);
        while let Some(entry) = walk.next(reader)? {
            let value = entry.value;
            match entry.key {
                Key::Mindur => {
                    read.least = reader.narrow(value, Field::Durfloors)?.unwrap_or(read.least);
                }
                Key::Maxdur => {
                    read.most = reader.narrow(value, Field::Durfloors)?.unwrap_or(read.most);
                }
                Key::Bidfloor => {
                    let (floor, is_raised) = reader.floor(value, Field::Durfloors)?;
                    read.bidfloor = floor;
                    spot(reader, value, (SpotPrice::Flat(floor), is_raised), deal);
                }
                _ => {}
            }
        }
        reader.view.dur_floors.push(read);
    }
    Ok(since(&reader.view.dur_floors, first))
}

/// A duration, or a number of ads: a negative one contradicts itself.
fn seconds(
    reader: &mut Reader<'_>,
    value: Value<'_>,
    field: Field,
    media: Media,
) -> Result<Option<u32>, Refusal> {
    match reader.integer(value, field)? {
        Some(negative) if negative < 0 => Err(match media {
            Media::Audio => Refusal::AudioDuration,
            _ => Refusal::VideoDuration,
        }),
        Some(number) => u32::try_from(number).map(Some).map_err(|_| Refusal::NumberOutOfRange),
        None => Ok(None),
    }
}

/// `imp.native`: its `request` is a document of its own, in a string.
pub fn native(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Native, Refusal> {
    let mut native = Native::default();
    let mut is_checked = false;
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Request => {
                is_checked = match value.kind() {
                    Kind::Object(_) => {
                        // Leniently the document itself. It has no text of its own in the
                        // un-escaped copy, so `request` stays empty.
                        reader.leniencies.note(Field::NativeRequest);
                        asks_for_assets(value)
                    }
                    Kind::Text(text) => {
                        let most = reader.limits.native_bytes_max;
                        native.request = reader.text_within(value, Field::NativeRequest, most)?;
                        is_markup_request(text, reader.nested, reader.nested_text)
                    }
                    _ => false,
                };
            }
            Key::Battr => native.battr = reader.numbers(value, Field::NativeBattr)?,
            _ => {}
        }
    }
    if is_checked { Ok(native) } else { Err(Refusal::NativeRequest) }
}

fn is_markup_request(request: &str, nested: &mut Scratch, text: &mut Vec<u8>) -> bool {
    nested.read(request.as_bytes(), text).is_ok_and(|document| asks_for_assets(document.root()))
}

/// Whether a native markup request names at least one asset: as the root of 1.1 and higher, or
/// in the `native` of 1.0. One that has a key twice, here or there, is none.
fn asks_for_assets(root: Value<'_>) -> bool {
    let Kind::Object(members) = root.kind() else { return false };
    let mut unique = Unique::default();
    let mut has_assets = false;
    for entry in members {
        if !unique.is_new(&entry) {
            return false;
        }
        has_assets |= match (entry.key, entry.value.kind()) {
            (Key::Assets, Kind::Array(assets)) => assets.len() > 0,
            (Key::Native, Kind::Object(members)) => match wrapped_assets(members) {
                Some(has_any) => has_any,
                None => return false,
            },
            _ => false,
        };
    }
    has_assets
}

/// Whether the `native` of 1.0 names an asset; `None`: it has a key twice.
fn wrapped_assets(members: Members<'_>) -> Option<bool> {
    let mut unique = Unique::default();
    let mut has_assets = false;
    for entry in members {
        if !unique.is_new(&entry) {
            return None;
        }
        has_assets |= matches!((entry.key, entry.value.kind()),
            (Key::Assets, Kind::Array(assets)) if assets.len() > 0);
    }
    Some(has_assets)
}
