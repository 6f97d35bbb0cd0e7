//! Small closed vocabularies of the standard, and the dense ids of what is configured.
//!
//! Owns: enums with their wire numbers. Never: a rule that uses them.

use std::fmt;

/// Index of a partner in the snapshot that the request holds. Not stable over reloads: what must
/// survive one is keyed by the partner's configured name.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct PartnerId(pub u16);

/// Index of a bidder in the snapshot that the request holds. Not stable over reloads.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct BidderId(pub u16);

/// What kind of inventory a request offers (`OpenRTB` 2.6, 3.2.1: site, app or dooh).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum Channel {
    Site,
    App,
    Dooh,
    /// None of the three; only where the partner's setting allows it.
    #[default]
    Unknown,
}

impl Channel {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 4] = [Self::Site, Self::App, Self::Dooh, Self::Unknown];

    /// The name on the wire and in configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Site => "site",
            Self::App => "app",
            Self::Dooh => "dooh",
            Self::Unknown => "unknown",
        }
    }
}

/// The four media objects of an imp; the discriminant is the bid's `mtype` (4.2.3).
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Media {
    Banner = 1,
    Video = 2,
    Audio = 3,
    Native = 4,
}

impl Media {
    /// All, in the order of their `mtype`.
    pub const ALL: [Self; 4] = [Self::Banner, Self::Video, Self::Audio, Self::Native];

    /// The value of `mtype`.
    pub const fn mtype(self) -> u8 {
        self as u8
    }

    /// From `mtype`.
    pub fn from_mtype(mtype: i64) -> Option<Self> {
        Self::ALL.into_iter().find(|media| i64::from(media.mtype()) == mtype)
    }

    /// The name on the wire and in configuration.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Banner => "banner",
            Self::Video => "video",
            Self::Audio => "audio",
            Self::Native => "native",
        }
    }
}

/// A set of media, one bit each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct MediaSet(u8);

impl MediaSet {
    /// One bit for each kind.
    pub const fn bits(self) -> u8 {
        self.0
    }

    /// Adds one.
    pub fn insert(&mut self, media: Media) {
        self.0 |= 1 << media.mtype();
    }

    /// Whether it is in.
    pub fn contains(self, media: Media) -> bool {
        self.0 & (1 << media.mtype()) != 0
    }

    /// Whether there is none.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// How many.
    pub fn len(self) -> u32 {
        self.0.count_ones()
    }

    /// What is in both.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self(self.0 & other.0)
    }
}

impl FromIterator<Media> for MediaSet {
    fn from_iter<I: IntoIterator<Item = Media>>(media: I) -> Self {
        let mut set = Self::default();
        media.into_iter().for_each(|one| set.insert(one));
        set
    }
}

/// How the price is found (3.2.1 `at`, 3.2.12 `deals[].at`).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub enum AuctionType {
    FirstPrice,
    /// The standard's default.
    #[default]
    SecondPrice,
    /// Deals only: the deal's `bidfloor` is the agreed price.
    Fixed,
}

impl AuctionType {
    /// From `at`; types that we do not know (500 and above) and nonsense are `None`.
    pub fn from_wire(at: i64) -> Option<Self> {
        match at {
            1 => Some(Self::FirstPrice),
            2 => Some(Self::SecondPrice),
            3 => Some(Self::Fixed),
            _ => None,
        }
    }

    /// The value on the wire.
    pub const fn wire(self) -> u8 {
        match self {
            Self::FirstPrice => 1,
            Self::SecondPrice => 2,
            Self::Fixed => 3,
        }
    }
}

/// ISO 3166-1 alpha-3, upper case, such as `USA`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Country(pub [u8; 3]);

impl Country {
    /// Three ASCII letters of any case; anything else is `None`.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(bytes.map(|byte| byte.to_ascii_uppercase())))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("")
    }
}

impl fmt::Debug for Country {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
