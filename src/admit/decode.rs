//! The request's own members, what offers the impressions, and where they come from.
//!
//! Owns: the reading of `BidRequest` (3.2.1), `Site`, `App`, `DOOH` (3.2.13, 3.2.14, 3.2.32) and
//! `Source` (3.2.2). Never: an imp, a person, a rule over more than one field.

use crate::admit::lenient::LenientField as Field;
use crate::admit::read::{Reader, Walk};
use crate::admit::{decode_device, decode_prebid, decode_regs, decode_user};
use crate::json::value::{Kind, Members, Value};
use crate::money::Currency;
use crate::negatives::refusal::Refusal;
use crate::openrtb::ids::{AuctionType, Channel};
use crate::request::{Inventory, Key, Object};

/// What the face goes on with.
#[derive(Clone, Copy, Debug, Default)]
pub struct Root<'d> {
    /// `imp`, where it is not `null`.
    pub imp: Option<Value<'d>>,
    /// How many of `site`, `app` and `dooh` came.
    pub channels: u8,
}

/// What is read or edited of each object here, in its own letters.
#[rustfmt::skip]
const ROOT: [Key; 24] = [
    Key::Id, Key::Imp, Key::Site, Key::App, Key::Dooh, Key::Device, Key::User, Key::Regs,
    Key::Source, Key::Test, Key::At, Key::Tmax, Key::Cur, Key::Cattax, Key::Acat, Key::Bcat,
    Key::Badv, Key::Bapp, Key::Wseat, Key::Bseat, Key::Allimps, Key::Wlang, Key::Wlangb, Key::Ext,
];
const SOURCE: [Key; 2] = [Key::Schain, Key::Ext];
const SOURCE_EXT: [Key; 1] = [Key::Schain];
const SCHAIN: [Key; 1] = [Key::Nodes];

/// Reads all of a request but its imps.
pub fn root<'d>(reader: &mut Reader<'_>, members: Members<'d>) -> Result<Root<'d>, Refusal> {
    let (mut root, mut user) = (Root::default(), None);
    let (object, walk) = reader.record(members);
    let mut walk = walk.of(&ROOT);
    reader.view.objects.root = object;
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Id => reader.view.id = reader.text(value, Field::Id)?,
            Key::Imp if value.is_null() => reader.leniencies.note(Field::Imp),
            Key::Imp => root.imp = Some(value),
            Key::Site => channel(reader, &mut root, value, Channel::Site)?,
            Key::App => channel(reader, &mut root, value, Channel::App)?,
            Key::Dooh => channel(reader, &mut root, value, Channel::Dooh)?,
            Key::Device => decode_device::device(reader, value)?,
            Key::User => {
                decode_user::user(reader, value)?;
                user = Some(value);
            }
            Key::Regs => decode_regs::regs(reader, value)?,
            Key::Source => source(reader, value)?,
            Key::Ext => decode_prebid::root_ext(reader, value)?,
            Key::Test => {
                reader.view.is_test = reader.flag(value, Field::Test)?.unwrap_or_default();
            }
            Key::At => auction_type(reader, value)?,
            Key::Tmax => tmax(reader, value),
            Key::Cur => currencies(reader, value)?,
            Key::Cattax => category_taxonomy(reader, value)?,
            Key::Acat => reader.view.acat = reader.texts(value, Field::Acat)?,
            Key::Bcat => reader.view.bcat = reader.texts(value, Field::Bcat)?,
            Key::Badv => reader.view.badv = reader.texts(value, Field::Badv)?,
            Key::Bapp => reader.view.bapp = reader.texts(value, Field::Bapp)?,
            Key::Wseat => reader.view.wseat = reader.texts(value, Field::Wseat)?,
            Key::Bseat => reader.view.bseat = reader.texts(value, Field::Bseat)?,
            _ => {}
        }
    }
    decode_prebid::eids(reader, user);
    Ok(root)
}

/// `at`: 1 or 2; a custom type (500 and above) is none that we could hold (3.2.1).
fn auction_type(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(at) = reader.integer(value, Field::At)? else { return Ok(()) };
    reader.view.auction_type = AuctionType::from_wire(at)
        .filter(|auction_type| *auction_type != AuctionType::Fixed)
        .ok_or(Refusal::AuctionTypeUnknown)?;
    reader.view.has_auction_type = true;
    Ok(())
}

/// `tmax`: what cannot be read counts as absent; the deadline has its own bounds.
fn tmax(reader: &mut Reader<'_>, value: Value<'_>) {
    reader.view.tmax_ms = match reader.narrow::<u32>(value, Field::Tmax) {
        Ok(tmax) => tmax,
        Err(_) => reader.absent(Field::Tmax),
    };
}

/// `cur`: those that have a rate; at least one, where it names any (3.2.1).
fn currencies(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let mut has_any = false;
    let mut take = |reader: &mut Reader<'_>, value: Value<'_>| match value.kind() {
        Kind::Text("") | Kind::Null => {
            reader.leniencies.note(Field::Cur);
            Ok(())
        }
        Kind::Text(code) => {
            has_any = true;
            let known = Currency::parse(code).filter(|currency| reader.rates.knows(*currency));
            reader.view.currencies.extend(known);
            Ok(())
        }
        _ => Err(Refusal::WrongType),
    };
    if let Kind::Array(mut codes) = value.kind() {
        codes.try_for_each(|code| take(reader, code))?;
    } else {
        take(reader, value)?;
        reader.leniencies.note(Field::Cur);
    }
    if has_any && reader.view.currencies.is_empty() {
        return Err(Refusal::CurrencyUnknown);
    }
    Ok(())
}

/// `cattax`: of AdCOM's list "Category Taxonomies", which grows. A number that is none stands for
/// a taxonomy that no bid is of, and not for the default.
fn category_taxonomy(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    reader.view.cattax = match reader.narrow(value, Field::Cattax) {
        Ok(Some(0)) | Err(Refusal::NumberOutOfRange) => {
            reader.leniencies.note(Field::Cattax);
            Some(0)
        }
        read => read?,
    };
    Ok(())
}

/// `site`, `app` or `dooh`.
fn channel(
    reader: &mut Reader<'_>,
    root: &mut Root<'_>,
    value: Value<'_>,
    channel: Channel,
) -> Result<(), Refusal> {
    let field = match channel {
        Channel::App => Field::App,
        Channel::Dooh => Field::Dooh,
        Channel::Site | Channel::Unknown => Field::Site,
    };
    let Some(members) = reader.object(value, field)? else { return Ok(()) };
    root.channels = root.channels.saturating_add(1);
    reader.view.channel = channel;
    reader.view.inventory = inventory(reader, members)?;
    Ok(())
}

fn inventory(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Inventory, Refusal> {
    let mut read = Inventory::default();
    let mut walk = Walk::over(members);
    while let Some(entry) = walk.next(reader)? {
        let value = entry.value;
        match entry.key {
            Key::Id => read.id = reader.text(value, Field::InventoryId)?,
            Key::Name => read.name = reader.text(value, Field::InventoryName)?,
            Key::Domain => read.domain = reader.text(value, Field::InventoryDomain)?,
            Key::Page => read.page = reader.text(value, Field::InventoryPage)?,
            Key::Bundle => read.bundle = reader.text(value, Field::InventoryBundle)?,
            Key::Storeurl => read.storeurl = reader.text(value, Field::InventoryStoreurl)?,
            Key::Cat => read.cat = reader.texts(value, Field::InventoryCat)?,
            Key::Publisher => {
                let Some(members) = reader.object(value, Field::Publisher)? else { continue };
                let mut walk = Walk::over(members);
                while let Some(entry) = walk.next(reader)? {
                    if entry.key == Key::Id {
                        read.publisher_id = reader.text(entry.value, Field::PublisherId)?;
                    }
                }
            }
            _ => {}
        }
    }
    Ok(read)
}

/// `source`, with the supply chain of 2.6 or, where that is absent, of 2.5 (`source.ext`).
fn source(reader: &mut Reader<'_>, value: Value<'_>) -> Result<(), Refusal> {
    let Some(members) = reader.object(value, Field::Source)? else { return Ok(()) };
    let (mut chain, mut chain_in_ext) = (None, None);
    let (object, walk) = reader.record(members);
    let mut walk = walk.of(&SOURCE);
    reader.view.objects.source = Some(object);
    while let Some(entry) = walk.next(reader)? {
        match entry.key {
            Key::Schain => chain = reader.object(entry.value, Field::Schain)?,
            Key::Ext => {
                let Some(members) = reader.object(entry.value, Field::SourceExt)? else { continue };
                let (object, walk) = reader.record(members);
                let mut walk = walk.of(&SOURCE_EXT);
                reader.view.objects.source_ext = Some(object);
                while let Some(entry) = walk.next(reader)? {
                    if entry.key == Key::Schain {
                        chain_in_ext = reader.object(entry.value, Field::Schain)?;
                    }
                }
            }
            _ => {}
        }
    }
    if let Some(members) = chain.or(chain_in_ext) {
        reader.view.objects.schain = Some(supply_chain(reader, members)?);
    }
    Ok(())
}

/// `SupplyChain` (3.2.25).
fn supply_chain(reader: &mut Reader<'_>, members: Members<'_>) -> Result<Object, Refusal> {
    let (object, walk) = reader.record(members);
    let mut walk = walk.of(&SCHAIN);
    while let Some(entry) = walk.next(reader)? {
        if entry.key != Key::Nodes {
            continue;
        }
        if let Some(nodes) = reader.array(entry.value, Field::Schain)? {
            if nodes.len() > reader.limits.schain_nodes_max {
                return Err(Refusal::TooManySchainNodes);
            }
            let count = u32::try_from(nodes.len()).unwrap_or(u32::MAX);
            reader.view.objects.schain_nodes = Some((entry.value.span(), count));
        }
    }
    Ok(object)
}
