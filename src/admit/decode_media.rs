//! What an impression can show.
//!
//! Owns: the reading of `Banner` (3.2.6), `Format` (3.2.10), `Video` (3.2.7), `Audio` (3.2.8) and
//! `Native` (3.2.9). Never: a rule that needs the imp around them (`validate`).

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk, end, since};
use crate::json::scratch::Scratch;
use crate::json::unique::Unique;
use crate::json::value::{Kind, Members, Value};
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::Media;
use crate::request::{Banner, Key, Native, Size, Stream};

/// The numbers of a size: of a `Format`, or of a `Banner` itself.
#[derive(Default)]
struct Measure {
    size: Size,
    wratio: u32,
    hratio: u32,
    /// `wmax`, `hmax`, `wmin`, `hmin` of a banner of 2.2 to 2.5 name a range of sizes.
    is_range: bool,
}

impl Measure {
    fn is_fixed(&self) -> bool {
        self.size.w > 0 && self.size.h > 0
    }

    /// A flexible size (`wratio` with `hratio`), or a range.
    fn is_flexible(&self) -> bool {
        self.is_range || (self.wratio > 0 && self.hratio > 0)
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
            _ => self.is_range |= number > 0,
        }
        Ok(())
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
            Key::Btype => banner.btype = reader.numbers(value, Field::BannerBtype)?,
            Key::Battr => banner.battr = reader.numbers(value, Field::BannerBattr)?,
            Key::Mimes => banner.mimes = reader.texts(value, Field::BannerMimes)?,
            _ => {}
        }
    }
    if banner.sizes.is_empty() && !banner.is_flexible {
        let first = end(&reader.view.sizes);
        reader.view.sizes.extend(own.is_fixed().then_some(own.size));
        banner.sizes = since(&reader.view.sizes, first);
        banner.is_flexible = own.is_flexible();
    }
    Ok(banner)
}

/// `format`: each names a size with two positive numbers, or a ratio.
fn formats(reader: &mut Reader<'_>, banner: &mut Banner, value: Value<'_>) -> Result<(), Refusal> {
    let Some(formats) = reader.array(value, Field::BannerFormat)? else { return Ok(()) };
    let first = end(&reader.view.sizes);
    for format in formats {
        let Some(members) = reader.object(format, Field::BannerFormat)? else { continue };
        let mut measure = Measure::default();
        let mut walk = Walk::over(members);
        while let Some(entry) = walk.next(reader)? {
            if matches!(entry.key, Key::W | Key::H | Key::Wratio | Key::Hratio) {
                measure.read(reader, entry.key, entry.value)?;
            }
        }
        if !measure.is_fixed() && !measure.is_flexible() {
            return Err(Refusal::BannerSize);
        }
        reader.view.sizes.extend(measure.is_fixed().then_some(measure.size));
        banner.is_flexible |= measure.is_flexible();
    }
    banner.sizes = since(&reader.view.sizes, first);
    Ok(())
}

/// `imp.video` or `imp.audio`.
pub fn stream(
    reader: &mut Reader<'_>,
    members: Members<'_>,
    media: Media,
) -> Result<Stream, Refusal> {
    let mut stream = Stream::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Mimes => stream.mimes = reader.texts(value, Field::StreamMimes)?,
            Key::W => stream.size.w = reader.narrow(value, Field::StreamSize)?.unwrap_or_default(),
            Key::H => stream.size.h = reader.narrow(value, Field::StreamSize)?.unwrap_or_default(),
            Key::Minduration => {
                stream.minduration = seconds(reader, value, Field::StreamMinduration, media)?;
            }
            Key::Maxduration => {
                stream.maxduration = seconds(reader, value, Field::StreamMaxduration, media)?;
            }
            Key::Rqddurs => stream.rqddurs = reader.numbers(value, Field::StreamRqddurs)?,
            Key::Battr => stream.battr = reader.numbers(value, Field::StreamBattr)?,
            Key::Protocols => stream.protocols = reader.numbers(value, Field::StreamProtocols)?,
            Key::Plcmt => stream.plcmt = reader.narrow(value, Field::StreamPlcmt)?,
            Key::Placement => stream.placement = reader.narrow(value, Field::StreamPlacement)?,
            Key::Podid => stream.podid = reader.text(value, Field::StreamPodid)?,
            _ => {}
        }
    }
    Ok(stream)
}

/// A duration: a negative one contradicts itself.
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
                        native.request = reader.text(value, Field::NativeRequest)?;
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
/// in the `native` of 1.0.
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
            (Key::Native, Kind::Object(mut members)) => members.any(|entry| {
                matches!((entry.key, entry.value.kind()),
                    (Key::Assets, Kind::Array(assets)) if assets.len() > 0)
            }),
            _ => false,
        };
    }
    has_assets
}
