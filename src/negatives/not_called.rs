//! Why a bidder was not called.
//!
//! Owns: the closed list with its labels and the 2xx codes of the seat-non-bid extension (200
//! general, 201 channel, 202 media type, 203 optimized: pretargeting, 204 privacy).

/// A configured bidder was not invited.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NotCalled {
    /// Offers no media that the bidder buys.
    Media,
    /// Offers no size that the bidder buys.
    Size,
    /// Site, app or dooh that the bidder does not buy.
    Channel,
    /// Outside the bidder's countries or regions.
    Country,
    /// A device type that the bidder does not buy.
    DeviceType,
    /// An operating system that the bidder does not buy.
    Os,
    /// The bidder does not buy from this partner.
    Partner,
    /// The bidder does not buy from this publisher.
    Publisher,
    /// A domain or bundle that the bidder does not buy.
    Inventory,
    /// The bidder buys by deals only, and none of its deals is here.
    DealOnly,
    /// The bidder wants users that it knows.
    UnmatchedUser,
    /// Every floor is above what the bidder ever pays.
    FloorCeiling,
    /// `wseat`/`bseat` leave the bidder no seat.
    Seat,
    /// The bidder may not be asked for this user.
    Privacy,
    /// The bidder fails too often at the moment.
    BreakerOpen,
    /// The bidder's requests a second are spent.
    Budget,
    /// As many calls to the bidder are open as it may have.
    InFlight,
    /// The request leaves less time than the bidder's configuration asks for.
    NoTime,
    /// It leaves less than the round trip to the bidder, as measured, takes.
    RoundTrip,
    /// The request could not be written for the bidder.
    Rendering,
}

impl NotCalled {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 20] = [
        Self::Media,
        Self::Size,
        Self::Channel,
        Self::Country,
        Self::DeviceType,
        Self::Os,
        Self::Partner,
        Self::Publisher,
        Self::Inventory,
        Self::DealOnly,
        Self::UnmatchedUser,
        Self::FloorCeiling,
        Self::Seat,
        Self::Privacy,
        Self::BreakerOpen,
        Self::Budget,
        Self::InFlight,
        Self::NoTime,
        Self::RoundTrip,
        Self::Rendering,
    ];

    /// Position in [`Self::ALL`], for per-reason tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short stable code: `x-gavel-reason`, metric label, log field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Media => "media",
            Self::Size => "size",
            Self::Channel => "channel",
            Self::Country => "country",
            Self::DeviceType => "device_type",
            Self::Os => "os",
            Self::Partner => "partner",
            Self::Publisher => "publisher",
            Self::Inventory => "inventory",
            Self::DealOnly => "deal_only",
            Self::UnmatchedUser => "unmatched_user",
            Self::FloorCeiling => "floor_ceiling",
            Self::Seat => "seat",
            Self::Privacy => "privacy",
            Self::BreakerOpen => "breaker_open",
            Self::Budget => "budget",
            Self::InFlight => "in_flight",
            Self::NoTime => "no_time",
            Self::RoundTrip => "round_trip",
            Self::Rendering => "rendering",
        }
    }

    /// Whether the bidder never buys the like: by its configuration alone, whatever the moment.
    pub const fn is_by_targeting(self) -> bool {
        matches!(
            self,
            Self::Media
                | Self::Size
                | Self::Channel
                | Self::Country
                | Self::DeviceType
                | Self::Os
                | Self::Partner
                | Self::Publisher
                | Self::Inventory
                | Self::DealOnly
                | Self::UnmatchedUser
        )
    }

    /// Non-bid status code.
    pub const fn status(self) -> u16 {
        match self {
            Self::BreakerOpen
            | Self::Budget
            | Self::InFlight
            | Self::NoTime
            | Self::RoundTrip
            | Self::Rendering => 200,
            Self::Channel => 201,
            Self::Media => 202,
            Self::Privacy => 204,
            _ => 203,
        }
    }
}
