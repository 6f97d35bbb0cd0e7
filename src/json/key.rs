//! The names of the members that the road knows, and the search for one.
//!
//! Owns: the table of names. Never: which object a name stands in.
//! Invariant: every [`Key`] but [`Key::Other`] has exactly one name here.

use crate::request::Key;

/// Every name with its key.
#[rustfmt::skip]
const NAMES: [(&str, Key); 174] = [
    ("acat", Key::Acat), ("accuracy", Key::Accuracy), ("adid", Key::Adid), ("adm", Key::Adm), ("adomain", Key::Adomain),
    ("allimps", Key::Allimps), ("api", Key::Api), ("app", Key::App), ("asset",
    Key::Asset), ("assets", Key::Assets), ("at", Key::At), ("attr", Key::Attr), ("atts", Key::Atts), ("audio",
    Key::Audio), ("badv", Key::Badv), ("banner", Key::Banner), ("bapp", Key::Bapp), ("battr",
    Key::Battr), ("bcat", Key::Bcat), ("bid", Key::Bid), ("bidderconfig", Key::Bidderconfig), ("bidders", Key::Bidders), ("bidfloor", Key::Bidfloor),
    ("bidfloorcur", Key::Bidfloorcur), ("bidid", Key::Bidid), ("brand", Key::Brand), ("brands",
    Key::Brands), ("browsers", Key::Browsers), ("bseat", Key::Bseat),
    ("bundle", Key::Bundle), ("burl", Key::Burl), ("buyeruid", Key::Buyeruid), ("buyeruids", Key::Buyeruids), ("carrier",
    Key::Carrier), ("cat", Key::Cat), ("cattax", Key::Cattax), ("cid", Key::Cid), ("city",
    Key::City), ("connectiontype", Key::Connectiontype), ("consent", Key::Consent), ("content",
    Key::Content), ("coppa", Key::Coppa), ("country", Key::Country), ("crid", Key::Crid), ("cur",
    Key::Cur), ("customdata", Key::Customdata), ("data", Key::Data), ("dealid", Key::Dealid),
    ("deals", Key::Deals), ("device", Key::Device), ("devicetype", Key::Devicetype), ("didmd5",
    Key::Didmd5), ("didsha1", Key::Didsha1), ("dnt", Key::Dnt), ("domain", Key::Domain), ("dooh",
    Key::Dooh), ("dpidmd5", Key::Dpidmd5), ("dpidsha1", Key::Dpidsha1), ("dur", Key::Dur), ("durfloors", Key::Durfloors), ("eidpermissions", Key::Eidpermissions), ("eids",
    Key::Eids), ("exp", Key::Exp), ("expdir", Key::Expdir), ("ext", Key::Ext), ("format",
    Key::Format), ("gdpr", Key::Gdpr), ("gender", Key::Gender), ("geo", Key::Geo), ("gpc", Key::Gpc), ("gpp",
    Key::Gpp), ("gpp_sid", Key::GppSid), ("group", Key::Group), ("h", Key::H), ("hmax", Key::Hmax),
    ("hmin", Key::Hmin), ("hratio", Key::Hratio), ("hwv", Key::Hwv), ("id", Key::Id), ("ifa",
    Key::Ifa), ("imp", Key::Imp), ("impid", Key::Impid), ("instl", Key::Instl), ("ip", Key::Ip),
    ("ipservice", Key::Ipservice), ("ipv6", Key::Ipv6), ("keywords", Key::Keywords), ("kwarray",
    Key::Kwarray), ("language", Key::Language), ("lastfix", Key::Lastfix), ("lat", Key::Lat),
    ("lmt", Key::Lmt), ("lon", Key::Lon), ("lurl", Key::Lurl), ("macmd5", Key::Macmd5), ("macsha1",
    Key::Macsha1), ("make", Key::Make), ("maxdur", Key::Maxdur), ("maxduration", Key::Maxduration), ("maxextended", Key::Maxextended), ("maxseq", Key::Maxseq),
    ("metric", Key::Metric), ("metro", Key::Metro), ("mimes", Key::Mimes), ("mincpmpersec", Key::Mincpmpersec), ("mindur", Key::Mindur), ("minduration",
    Key::Minduration), ("mobile", Key::Mobile), ("model", Key::Model), ("mtype", Key::Mtype),
    ("multiplier", Key::Multiplier),
    ("name", Key::Name), ("native", Key::Native), ("nbr", Key::Nbr), ("nodes", Key::Nodes), ("nurl",
    Key::Nurl), ("os", Key::Os), ("osv", Key::Osv), ("page", Key::Page), ("page_view_ids", Key::PageViewIds), ("placement",
    Key::Placement), ("platform", Key::Platform), ("plcmt", Key::Plcmt), ("pmp", Key::Pmp),
    ("poddedupe", Key::Poddedupe), ("poddur", Key::Poddur), ("podid", Key::Podid), ("pos", Key::Pos), ("prebid", Key::Prebid), ("price", Key::Price), ("private_auction",
    Key::PrivateAuction), ("protocols", Key::Protocols), ("publisher", Key::Publisher), ("qty", Key::Qty), ("ref",
    Key::Ref), ("region", Key::Region), ("regs", Key::Regs), ("request", Key::Request), ("rqddurs",
    Key::Rqddurs), ("rwdd", Key::Rwdd), ("schain", Key::Schain), ("seat", Key::Seat), ("seatbid",
    Key::Seatbid), ("secure", Key::Secure), ("site", Key::Site), ("slotinpod", Key::Slotinpod), ("source", Key::Source),
    ("startdelay", Key::Startdelay), ("storeurl", Key::Storeurl), ("sua", Key::Sua), ("test",
    Key::Test), ("tid", Key::Tid), ("tmax", Key::Tmax), ("topframe", Key::Topframe), ("type",
    Key::Type), ("ua", Key::Ua), ("uids", Key::Uids), ("user", Key::User), ("us_privacy",
    Key::UsPrivacy), ("utcoffset", Key::Utcoffset), ("ver", Key::Ver), ("version", Key::Version),
    ("video", Key::Video), ("vcm", Key::Vcm), ("w", Key::W), ("wadomain", Key::Wadomain), ("wlang",
    Key::Wlang), ("wlangb", Key::Wlangb), ("wmax", Key::Wmax), ("wmin", Key::Wmin), ("wratio",
    Key::Wratio), ("wseat", Key::Wseat), ("yob", Key::Yob), ("zip", Key::Zip),
];

/// Slots of the hash table; a power of two, about six times the names.
const SLOTS: usize = 1024;

/// For each slot one more than an index of `NAMES`; 0: free. Filled when this is compiled.
static TABLE: [u8; SLOTS] = fill();

/// `NAMES`, as they are compared.
static WORDS: [(Word, Key); NAMES.len()] = words();

/// A name of up to [`NAME_BYTES_MAX`] bytes in two integers. They hold every byte of it (some of them twice), so
/// that equal words are equal names, and no name is compared byte by byte.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Word {
    len: usize,
    head: u64,
    tail: u64,
}

impl Word {
    /// `None`: empty, or longer than any name that we know.
    #[inline]
    const fn of(name: &[u8]) -> Option<Self> {
        let len = name.len();
        let (head, tail) = match name {
            [only] => (*only as u64, 0),
            [first, last] => (*first as u64, *last as u64),
            [first, middle, last] => (*first as u64 | (*middle as u64) << 8, *last as u64),
            _ if len > NAME_BYTES_MAX => return None,
            _ => match (name.first_chunk(), name.last_chunk()) {
                (Some(head), Some(tail)) => (u64::from_le_bytes(*head), u64::from_le_bytes(*tail)),
                _ => match (name.first_chunk(), name.last_chunk()) {
                    (Some(head), Some(tail)) => {
                        (u32::from_le_bytes(*head) as u64, u32::from_le_bytes(*tail) as u64)
                    }
                    _ => return None,
                },
            },
        };
        Some(Self { len, head, tail })
    }

    /// Where the search begins. Of the multipliers that were tried, with this one the fewest names
    /// begin at one slot; the search does not depend on it.
    #[inline]
    #[expect(
        clippy::cast_possible_truncation,
        clippy::arithmetic_side_effects,
        reason = "ten bits are left of 64"
    )]
    const fn slot(self) -> usize {
        let mixed = self.head ^ self.tail.rotate_left(23) ^ self.len as u64;
        (mixed.wrapping_mul(0x0f47_cb24_7fdd_b115) >> (u64::BITS - SLOTS.ilog2())) as usize
    }
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    reason = "runs when this is compiled: a bad index or sum stops the compiler"
)]
const fn words() -> [(Word, Key); NAMES.len()] {
    let mut words = [(Word { len: 0, head: 0, tail: 0 }, Key::Other); NAMES.len()];
    let mut index = 0;
    while index < NAMES.len() {
        let (name, key) = NAMES[index];
        let Some(word) = Word::of(name.as_bytes()) else { panic!("a name of 1 to 16 bytes") };
        words[index] = (word, key);
        index += 1;
    }
    words
}

#[expect(
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "runs when this is compiled: a bad index or sum stops the compiler"
)]
const fn fill() -> [u8; SLOTS] {
    let mut table = [0; SLOTS];
    let mut index = 0;
    while index < WORDS.len() {
        let mut at = WORDS[index].0.slot();
        while table[at] != 0 {
            at = (at + 1) % SLOTS;
        }
        index += 1;
        assert!(index <= u8::MAX as usize);
        table[at] = index as u8;
    }
    table
}

/// The key of a name; [`Key::Other`] where the road does not know it.
pub fn of(name: &[u8]) -> Key {
    let Some(word) = Word::of(name) else { return Key::Other };
    let mut at = word.slot();
    while let Some(index) = TABLE.get(at).and_then(|index| index.checked_sub(1)) {
        match WORDS.get(usize::from(index)) {
            Some((known, key)) if *known == word => return *key,
            _ => at = at.wrapping_add(1) % SLOTS,
        }
    }
    Key::Other
}

/// As many letters as a name has at most.
pub const NAME_BYTES_MAX: usize = 16;

/// A name in small letters, as readers that look at no letter case take it (Go's `encoding/json`
/// takes `Price` for `price`, and the later of both); `None`: it is written so already, or is in
/// no letters of ours. Some readers fold more than ASCII (the long s, the Kelvin sign, an i without
/// its dot).
pub fn small<'b>(name: &str, letters: &'b mut [u8; NAME_BYTES_MAX]) -> Option<&'b [u8]> {
    if name.bytes().all(|byte| byte.is_ascii() && !byte.is_ascii_uppercase()) {
        return None;
    }
    let (mut len, mut places) = (0_usize, letters.iter_mut());
    for letter in name.chars() {
        let small = match letter {
            '\u{17f}' => 's',
            '\u{212a}' => 'k',
            '\u{130}' | '\u{131}' => 'i',
            other => other.to_ascii_lowercase(),
        };
        *places.next()? = u8::try_from(small).ok().filter(u8::is_ascii)?;
        len = len.saturating_add(1);
    }
    letters.get(..len)
}

/// The key that an unknown name stands for where nobody looks at its letter case.
pub fn in_small(name: &str) -> Key {
    small(name, &mut [0; NAME_BYTES_MAX]).map_or(Key::Other, of)
}

/// The name of a key; empty for [`Key::Other`].
pub fn name(key: Key) -> &'static str {
    NAMES.iter().find(|(_, known)| *known == key).map_or("", |(name, _)| name)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::ops::BitXorAssign;

    #[test]
    fn every_name_finds_its_key_and_stands_once() {
        for (position, (text, key)) in NAMES.iter().enumerate() {
            assert_eq!(of(text.as_bytes()), *key, "{text}");
            assert_eq!(name(*key), *text);
            // The table follows the enum: no variant is left out.
            assert_eq!(*key as usize, position + 1, "{text}");
        }
        assert_eq!(Key::Zip as usize, NAMES.len());
    }

    #[test]
    fn other_names_find_nothing() {
        for text in ["", "i", "idx", "ID", "gpp-sid", "bidfloorcurrency", "\u{e9}", "tmaxx"] {
            assert_eq!(of(text.as_bytes()), Key::Other, "{text}");
        }
        assert_eq!(name(Key::Other), "");
    }

    #[test]
    fn a_name_in_other_letters_stands_for_one() {
        for (name, key) in [
            ("Price", Key::Price),
            ("ADOMAIN", Key::Adomain),
            ("bidFloorCur", Key::Bidfloorcur),
            ("\u{17f}ource", Key::Source),
            ("REG\u{17f}", Key::Regs),
            ("\u{212a}eywords", Key::Keywords),
            ("dev\u{131}ce", Key::Device),
            ("\u{130}mp", Key::Imp),
            ("Prices", Key::Other),
            ("PRIVATE_AUCTIONS", Key::Other),
            ("PRIVATE-AUCTION", Key::Other),
            ("", Key::Other),
            ("\u{c9}xt", Key::Other),
            ("UnknownAndTooLongAsWell", Key::Other),
        ] {
            assert_eq!(in_small(name), key, "{name}");
        }
        for (text, key) in NAMES {
            assert_eq!(in_small(text), Key::Other, "{text}: written so already");
            assert_eq!(in_small(&text.to_uppercase()), key, "{text}");
        }
    }

    #[test]
    fn names_that_are_nearly_known_are_not_taken_for_them() {
        let known = |name: &[u8]| NAMES.iter().any(|(text, _)| text.as_bytes() == name);
        for (text, _) in NAMES {
            let name = text.as_bytes();
            let mut near: Vec<Vec<u8>> = Vec::new();
            for at in 0..name.len() {
                for bit in 0..8 {
                    let mut changed = name.to_vec();
                    changed.get_mut(at).unwrap().bitxor_assign(1 << bit);
                    near.push(changed);
                }
                let mut shorter = name.to_vec();
                shorter.remove(at);
                near.push(shorter);
            }
            for at in 0..=name.len() {
                for byte in *b"\0_aeis1\xff" {
                    let mut longer = name.to_vec();
                    longer.insert(at, byte);
                    near.push(longer);
                }
            }
            for other in near.iter().filter(|other| !known(other)) {
                assert_eq!(of(other), Key::Other, "{}", other.escape_ascii());
            }
        }
    }

    #[test]
    fn no_search_is_long() {
        let longest = TABLE.split(|index| *index == 0).map(<[u8]>::len).max();
        assert!(longest <= Some(6), "{longest:?}");
    }
}
