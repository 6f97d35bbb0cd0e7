//! Why an offer was dropped before the auction compared prices.
//!
//! Owns: the closed list with its labels, non-bid status codes (3xx: response rejected) and loss
//! reasons.

use crate::openrtb::codes::loss;

/// A bid that may not take part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Rejection {
    /// The bid is no object, has a name twice (letter case aside), or says in `dealid`, `crid`,
    /// `bundle`, `adomain`, `cat`, `cattax` or `attr` what nobody can read.
    Malformed,
    /// `impid` names no imp that this bidder was offered (4.2.3).
    ImpUnknown,
    /// The bid has no `id` (4.2.3).
    IdMissing,
    /// An id of the bid, or its seat, has a control character, such as an end of line.
    IdInvalid,
    /// The bidder used one bid id twice.
    IdDuplicate,
    /// The bid lists more than 64 domains, categories or attributes.
    ListTooLong,
    /// No `price`, or zero.
    PriceMissing,
    /// Negative, not finite, or over the sanity cap.
    PriceInvalid,
    /// The answer's currency has no rate, or is not one we offered.
    CurrencyUnknown,
    /// Below the imp's floor.
    BelowFloor,
    /// Below the deal's floor.
    BelowDealFloor,
    /// `dealid` names no deal of the imp.
    DealUnknown,
    /// The deal's `at` is a type of the partner's own, by which we cannot clear (3.2.12).
    DealTypeUnknown,
    /// A private auction takes deals only.
    DealRequired,
    /// The seat is outside `wseat` (request's or deal's) or inside `bseat`, or the bidder may not use it.
    SeatNotAllowed,
    /// A category in `bcat`, or none in `acat`.
    CategoryBlocked,
    /// An `adomain` in `badv`.
    AdvertiserBlocked,
    /// No `adomain`, or one outside the deal's `wadomain`.
    AdvertiserNotInDeal,
    /// A `bundle` in `bapp`.
    AppBlocked,
    /// A creative attribute in `battr`.
    AttributeBlocked,
    /// A `crid` that the partner blocks.
    CreativeBlocked,
    /// A size that was not offered.
    SizeMismatch,
    /// An `mtype` that was not offered, or media that cannot be told.
    MediaMismatch,
    /// Neither `adm` nor a `nurl` that may serve it.
    MarkupMissing,
    /// Not VAST, or not native JSON.
    MarkupInvalid,
    /// `adm` over the size cap of its media.
    MarkupTooLarge,
    /// `nurl`, `burl` or `lurl` is not an address of http or https, or has a control character.
    NoticeInvalid,
    /// An `http:` resource on a secure imp.
    NotSecure,
    /// A `dur` that was not offered.
    DurationMismatch,
    /// `exp` is shorter than the imp needs.
    ExpiryTooShort,
    /// Another bid of its all-or-nothing group did not win.
    GroupIncomplete,
}

impl Rejection {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 31] = [
        Self::Malformed,
        Self::ImpUnknown,
        Self::IdMissing,
        Self::IdInvalid,
        Self::IdDuplicate,
        Self::ListTooLong,
        Self::PriceMissing,
        Self::PriceInvalid,
        Self::CurrencyUnknown,
        Self::BelowFloor,
        Self::BelowDealFloor,
        Self::DealUnknown,
        Self::DealTypeUnknown,
        Self::DealRequired,
        Self::SeatNotAllowed,
        Self::CategoryBlocked,
        Self::AdvertiserBlocked,
        Self::AdvertiserNotInDeal,
        Self::AppBlocked,
        Self::AttributeBlocked,
        Self::CreativeBlocked,
        Self::SizeMismatch,
        Self::MediaMismatch,
        Self::MarkupMissing,
        Self::MarkupInvalid,
        Self::MarkupTooLarge,
        Self::NoticeInvalid,
        Self::NotSecure,
        Self::DurationMismatch,
        Self::ExpiryTooShort,
        Self::GroupIncomplete,
    ];

    /// Position in [`Self::ALL`], for per-reason tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short stable code: `x-gavel-reason`, metric label, log field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Malformed => "malformed",
            Self::ImpUnknown => "imp_unknown",
            Self::IdMissing => "id_missing",
            Self::IdInvalid => "id_invalid",
            Self::IdDuplicate => "id_duplicate",
            Self::ListTooLong => "list_too_long",
            Self::PriceMissing => "price_missing",
            Self::PriceInvalid => "price_invalid",
            Self::CurrencyUnknown => "currency_unknown",
            Self::BelowFloor => "below_floor",
            Self::BelowDealFloor => "below_deal_floor",
            Self::DealUnknown => "deal_unknown",
            Self::DealTypeUnknown => "deal_type_unknown",
            Self::DealRequired => "deal_required",
            Self::SeatNotAllowed => "seat_not_allowed",
            Self::CategoryBlocked => "category_blocked",
            Self::AdvertiserBlocked => "advertiser_blocked",
            Self::AdvertiserNotInDeal => "advertiser_not_in_deal",
            Self::AppBlocked => "app_blocked",
            Self::AttributeBlocked => "attribute_blocked",
            Self::CreativeBlocked => "creative_blocked",
            Self::SizeMismatch => "size_mismatch",
            Self::MediaMismatch => "media_mismatch",
            Self::MarkupMissing => "markup_missing",
            Self::MarkupInvalid => "markup_invalid",
            Self::MarkupTooLarge => "markup_too_large",
            Self::NoticeInvalid => "notice_invalid",
            Self::NotSecure => "not_secure",
            Self::DurationMismatch => "duration_mismatch",
            Self::ExpiryTooShort => "expiry_too_short",
            Self::GroupIncomplete => "group_incomplete",
        }
    }

    /// Non-bid status code.
    pub const fn status(self) -> u16 {
        match self {
            Self::BelowFloor => 301,
            Self::IdDuplicate => 302,
            Self::BelowDealFloor => 304,
            Self::AttributeBlocked
            | Self::AppBlocked
            | Self::CreativeBlocked
            | Self::MarkupInvalid
            | Self::MarkupTooLarge
            | Self::DurationMismatch => 350,
            Self::SizeMismatch => 351,
            Self::NotSecure => 352,
            Self::MediaMismatch => 353,
            Self::AdvertiserBlocked | Self::AdvertiserNotInDeal => 356,
            Self::CategoryBlocked => 357,
            _ => 300,
        }
    }

    /// Loss reason code of `OpenRTB` (`${AUCTION_LOSS}`).
    pub const fn loss_reason(self) -> u16 {
        match self {
            Self::PriceMissing => loss::MISSING_PRICE,
            Self::BelowFloor => loss::BELOW_FLOOR,
            Self::BelowDealFloor => loss::BELOW_DEAL_FLOOR,
            Self::DealUnknown | Self::DealTypeUnknown | Self::DealRequired => loss::INVALID_DEAL,
            Self::SeatNotAllowed => loss::SEAT_BLOCKED,
            Self::CategoryBlocked => loss::CREATIVE_CATEGORY,
            Self::AdvertiserBlocked => loss::CREATIVE_ADVERTISER,
            Self::AdvertiserNotInDeal => loss::CREATIVE_NOT_ALLOWED_IN_DEAL,
            Self::AppBlocked => loss::CREATIVE_APP,
            Self::AttributeBlocked => loss::CREATIVE_ATTRIBUTE,
            Self::CreativeBlocked => loss::CREATIVE_DISAPPROVED,
            Self::SizeMismatch => loss::CREATIVE_SIZE,
            Self::MediaMismatch => loss::CREATIVE_FORMAT,
            Self::MarkupMissing => loss::MISSING_MARKUP,
            Self::MarkupInvalid | Self::MarkupTooLarge | Self::DurationMismatch => {
                loss::CREATIVE_GENERAL
            }
            Self::NotSecure => loss::CREATIVE_NOT_SECURE,
            Self::ExpiryTooShort => loss::IMP_EXPIRED,
            Self::GroupIncomplete => loss::LOST_TO_HIGHER_BID,
            _ => loss::INVALID_BID,
        }
    }
}
