//! One impression and its deals.
//!
//! Owns: the reading of `Imp` (3.2.4), `Pmp` (3.2.11), `Deal` (3.2.12) and `Qty` (3.2.31).
//! Never: a rule over more than one field (`validate`).

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk, end, since};
use crate::admit::{decode_device, decode_media};
use crate::json::value::{Kind, Members, Value};
use crate::money::multiplier::Multiplier;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::{AuctionType, Media};
use crate::request::stream::SpotPrice;
use crate::request::{Deal, Imp, Key};
use smallvec::SmallVec;

/// What is read or edited of each object here, in its own letters.
#[rustfmt::skip]
const IMP: [Key; 14] = [
    Key::Id, Key::Banner, Key::Video, Key::Audio, Key::Native, Key::Instl, Key::Secure, Key::Exp,
    Key::Bidfloor, Key::Bidfloorcur, Key::Qty, Key::Pmp, Key::Rwdd,
    Key::Ext,
];
const QTY: [Key; 1] = [Key::Multiplier];
const PMP: [Key; 2] = [Key::PrivateAuction, Key::Deals];
const DEAL: [Key; 8] = [
    Key::Id,
    Key::Bidfloor,
    Key::Bidfloorcur,
    Key::At,
    Key::Wseat,
    Key::Wadomain,
    Key::Mincpmpersec,
    Key::Durfloors,
];

/// An element of `imp`.
pub fn imp(reader: &mut Reader<'_>, value: Value<'_>, position: u32) -> Result<Imp, Refusal> {
    let Kind::Object(members) = value.kind() else { return Err(Refusal::NotAnObject) };
    let (object, walk) = reader.record(members);
    let mut walk = walk.of(&IMP);
    let mut imp = Imp { position, object, ..Imp::default() };
    let first_spot = end(&reader.view.price_spots);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Id => imp.id = reader.text(value, Field::ImpId)?,
            Key::Banner | Key::Video | Key::Audio | Key::Native => {
                media(reader, &mut imp, entry.key, value)?;
            }
            Key::Instl => {
                imp.is_interstitial = reader.flag(value, Field::ImpInstl)?.unwrap_or_default();
            }
            Key::Secure => imp.is_secure = reader.flag(value, Field::ImpSecure)?,
            Key::Exp => imp.exp = reader.narrow(value, Field::ImpExp)?,
            Key::Bidfloor => {
                (imp.bidfloor, imp.is_floor_raised) = reader.floor(value, Field::ImpBidfloor)?;
            }
            Key::Bidfloorcur => {
                imp.bidfloorcur = reader.floor_currency(value, Field::ImpBidfloorcur)?;
            }
            Key::Qty => {
                let Some(members) = reader.object(value, Field::ImpQty)? else { continue };
                imp.multiplier = Some(multiplier(reader, members)?);
            }
            Key::Pmp => {
                let Some(members) = reader.object(value, Field::Pmp)? else { continue };
                pmp(reader, &mut imp, members)?;
            }
            Key::Ext => {
                imp.ext = decode_device::edited(reader, value, Field::ImpExt)?;
            }
            _ => {}
        }
    }
    imp.price_spots = since(&reader.view.price_spots, first_spot);
    Ok(imp)
}

/// The `id` of an imp that may be invalid in any way; empty where it has none.
pub fn id(value: Value<'_>) -> &str {
    let Kind::Object(mut members) = value.kind() else { return "" };
    members.find(|entry| entry.key == Key::Id).map_or("", |entry| entry.value.written())
}

fn media(
    reader: &mut Reader<'_>,
    imp: &mut Imp,
    key: Key,
    value: Value<'_>,
) -> Result<(), Refusal> {
    let (media, field) = match key {
        Key::Banner => (Media::Banner, Field::Banner),
        Key::Video => (Media::Video, Field::Video),
        Key::Audio => (Media::Audio, Field::Audio),
        _ => (Media::Native, Field::Native),
    };
    let Some(members) = reader.object(value, field)? else { return Ok(()) };
    imp.media.insert(media);
    match media {
        Media::Banner => imp.banner = decode_media::banner(reader, members)?,
        Media::Video => imp.video = decode_media::stream(reader, members, media)?,
        Media::Audio => imp.audio = decode_media::stream(reader, members, media)?,
        Media::Native => imp.native = decode_media::native(reader, members)?,
    }
    Ok(())
}

/// Of `qty`, which has to have one.
fn multiplier(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Multiplier, Refusal> {
    let (mut found, mut walk) = (None, Walk::over(members).of(&QTY));
    while let Some(entry) = walk.next(reader)? {
        if entry.key == Key::Multiplier {
            found = Some(Reader::multiplier(entry.value)?);
        }
    }
    found.ok_or(Refusal::QtyMultiplier)
}

fn pmp(reader: &mut Reader<'_>, imp: &mut Imp, members: Members<'_>) -> Result<(), Refusal> {
    let (object, walk) = reader.record(members);
    let mut walk = walk.of(&PMP);
    imp.pmp = Some(object);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::PrivateAuction => {
                let flag = reader.flag(value, Field::PmpPrivateAuction)?;
                imp.is_private_auction = flag.unwrap_or_default();
            }
            Key::Deals => {
                let Some(deals) = reader.array(value, Field::PmpDeals)? else { continue };
                if deals.len() > reader.limits.deals_max {
                    return Err(Refusal::TooManyDeals);
                }
                let first = end(&reader.view.deals);
                let mut ids: SmallVec<[&str; 16]> = SmallVec::new();
                for value in deals {
                    let deal = deal(reader, value, &mut ids)?;
                    reader.view.deals.push(deal);
                }
                imp.deals = since(&reader.view.deals, first);
                ids.sort_unstable();
                if ids.iter().zip(ids.iter().skip(1)).any(|(one, next)| one == next) {
                    return Err(Refusal::DealIdDuplicate);
                }
            }
            _ => {}
        }
    }
    Ok(())
}

fn deal<'d>(
    reader: &mut Reader<'_>,
    value: Value<'d>,
    ids: &mut SmallVec<[&'d str; 16]>,
) -> Result<Deal, Refusal> {
    let Kind::Object(members) = value.kind() else { return Err(Refusal::NotAnObject) };
    // `bidfloorcur` is USD where absent: it does not inherit the imp's (3.2.12).
    let mut deal = Deal::default();
    let own = Some(end(&reader.view.deals));
    let mut walk = Walk::over(members).of(&DEAL);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Id => {
                deal.id = reader.text(value, Field::DealId)?;
                ids.push(value.written());
            }
            Key::Bidfloor => {
                let (floor, is_raised) = reader.floor(value, Field::DealBidfloor)?;
                deal.bidfloor = floor;
                decode_media::spot(reader, value, (SpotPrice::Flat(floor), is_raised), own);
            }
            Key::Bidfloorcur => {
                deal.bidfloorcur = reader.floor_currency(value, Field::DealBidfloorcur)?;
            }
            Key::At => {
                // A type of the partner's own is none that we could clear by: it costs the deal.
                match reader.integer(value, Field::DealAt)? {
                    Some(500..) => deal.is_foreign = true,
                    Some(at) => {
                        let known = AuctionType::from_wire(at).ok_or(Refusal::DealAuctionType)?;
                        deal.at = Some(known);
                    }
                    None => {}
                }
            }
            Key::Wseat => deal.wseat = reader.texts(value, Field::DealWseat)?,
            Key::Wadomain => deal.wadomain = reader.texts(value, Field::DealWadomain)?,
            _ => decode_media::by_duration(reader, &mut deal.floors, (entry.key, value), own)?,
        }
    }
    if deal.id.is_empty() { Err(Refusal::DealIdMissing) } else { Ok(deal) }
}
