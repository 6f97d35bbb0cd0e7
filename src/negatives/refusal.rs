//! Why a partner's request, or one imp of it, is turned away.
//!
//! Owns: the closed list with its labels and no-bid reasons. Never: a status code.

use crate::openrtb::codes::nbr;

/// We turn the request (or one imp) away.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Refusal {
    /// Unknown partner, wrong key or a source outside the partner's ranges: one answer for all.
    Unauthorised,
    /// The partner is over its agreed requests a second.
    PartnerQps,
    /// The worker has as much in flight as it can serve in time.
    Overload,
    /// No snapshot yet.
    NotReady,
    /// The events of an auction would have no place to go: it is not held.
    NowhereToBill,
    /// The body, or what it decodes to, is over the limit.
    BodyTooLarge,
    /// The body did not arrive in time.
    BodyTooSlow,
    /// The connection ended or broke framing inside the body.
    BodyBroken,
    /// A content coding that is not identity, gzip, deflate or zstd, or more than one.
    ContentEncoding,
    /// A content type that is not JSON.
    ContentType,
    /// `x-openrtb-version` names another major version than 2.
    OpenRtbVersion,
    /// The body does not decode: corrupt, truncated, or followed by more.
    EncodingBroken,
    /// A zstd frame wants a larger window than the limit (RFC 9659 allows 8 MiB).
    ZstdWindow,
    /// The body decodes to far more than an honest one would.
    ExpansionRatio,
    /// Not one JSON document in UTF-8.
    NotJson,
    /// The document, or an object that the road reads, is of another type.
    NotAnObject,
    /// Nested deeper than the limit.
    TooDeep,
    /// An object that the road reads or edits has one key twice; or one of the request itself, an
    /// imp, its deals or floors, or the supply chain in other letters (`BidFloor`), which some readers
    /// take for the same key.
    DuplicateKey,
    /// A number that the road reads does not fit.
    NumberOutOfRange,
    /// A field that the road needs has a type that no leniency covers.
    WrongType,
    /// A string that the road reads is over the limit.
    StringTooLong,
    /// A string that the road reads has a NUL.
    StringNul,
    /// More `imp` than the limit.
    TooManyImps,
    /// More `deals` in one imp than the limit.
    TooManyDeals,
    /// More `eids` (or uids in one) than the limit.
    TooManyEids,
    /// More `schain.nodes` than the limit.
    TooManySchainNodes,
    /// `id` is absent or empty (3.2.1).
    IdMissing,
    /// `imp` is absent or empty (3.2.1).
    ImpMissing,
    /// `imp.id` is absent or empty (3.2.4).
    ImpIdMissing,
    /// Two imps have one id (3.2.4).
    ImpIdDuplicate,
    /// An imp without banner, video, audio and native (3.2.4).
    ImpNoMedia,
    /// More than one of `site`, `app`, `dooh` (3.2.1).
    InventoryConflict,
    /// None of `site`, `app`, `dooh`, and the partner's setting does not allow that.
    InventoryMissing,
    /// A banner without a usable size that is not interstitial (3.2.6).
    BannerSize,
    /// `video.mimes` is absent or empty (3.2.7).
    VideoMimes,
    /// `video` durations contradict each other (3.2.7: rqddurs xor min/maxduration).
    VideoDuration,
    /// `audio.mimes` is absent or empty (3.2.8).
    AudioMimes,
    /// `audio` durations contradict each other (3.2.8).
    AudioDuration,
    /// `native.request` is absent, does not parse, or asks for no asset (3.2.9).
    NativeRequest,
    /// `bidfloor` is negative or not finite (3.2.4, 3.2.12).
    Bidfloor,
    /// `bidfloorcur` is no currency that has a rate.
    BidfloorCurrency,
    /// `qty.multiplier` is absent, no number, not above zero, or over a million (3.2.31).
    QtyMultiplier,
    /// `deals[].id` is absent or empty (3.2.12).
    DealIdMissing,
    /// Two deals of an imp have one id.
    DealIdDuplicate,
    /// `deals[].at` is not 1, 2, 3, or 500 and above (3.2.12).
    DealAuctionType,
    /// `at` is not 1 or 2 (3.2.1).
    AuctionTypeUnknown,
    /// `cur` names no currency that has a rate (3.2.1).
    CurrencyUnknown,
    /// `device.ip` or `device.ipv6` is no address (3.2.18).
    DeviceAddress,
    /// `regs.coppa` or `regs.gdpr` is neither 0 nor 1 (3.2.3).
    RegsValue,
    /// The partner may not send this channel.
    ChannelNotAllowed,
    /// The partner may not send any of the imp's media.
    MediaNotAllowed,
    /// `tmax` leaves the bidders too little.
    NoTimeLeft,
    /// The user agent names itself a robot.
    KnownSpider,
    /// The address is a data centre or an anonymising proxy.
    DataCenter,
    /// The app, domain or publisher is blocked by a rule.
    BlockedInventory,
    /// A fault of ours: caught, counted, answered.
    Panic,
}

impl Refusal {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 56] = [
        Self::Unauthorised,
        Self::PartnerQps,
        Self::Overload,
        Self::NotReady,
        Self::NowhereToBill,
        Self::BodyTooLarge,
        Self::BodyTooSlow,
        Self::BodyBroken,
        Self::ContentEncoding,
        Self::ContentType,
        Self::OpenRtbVersion,
        Self::EncodingBroken,
        Self::ZstdWindow,
        Self::ExpansionRatio,
        Self::NotJson,
        Self::NotAnObject,
        Self::TooDeep,
        Self::DuplicateKey,
        Self::NumberOutOfRange,
        Self::WrongType,
        Self::StringTooLong,
        Self::StringNul,
        Self::TooManyImps,
        Self::TooManyDeals,
        Self::TooManyEids,
        Self::TooManySchainNodes,
        Self::IdMissing,
        Self::ImpMissing,
        Self::ImpIdMissing,
        Self::ImpIdDuplicate,
        Self::ImpNoMedia,
        Self::InventoryConflict,
        Self::InventoryMissing,
        Self::BannerSize,
        Self::VideoMimes,
        Self::VideoDuration,
        Self::AudioMimes,
        Self::AudioDuration,
        Self::NativeRequest,
        Self::Bidfloor,
        Self::BidfloorCurrency,
        Self::QtyMultiplier,
        Self::DealIdMissing,
        Self::DealIdDuplicate,
        Self::DealAuctionType,
        Self::AuctionTypeUnknown,
        Self::CurrencyUnknown,
        Self::DeviceAddress,
        Self::RegsValue,
        Self::ChannelNotAllowed,
        Self::MediaNotAllowed,
        Self::NoTimeLeft,
        Self::KnownSpider,
        Self::DataCenter,
        Self::BlockedInventory,
        Self::Panic,
    ];

    /// Position in [`Self::ALL`], for per-reason tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short stable code: `x-gavel-reason`, metric label, log field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Unauthorised => "unauthorised",
            Self::PartnerQps => "partner_qps",
            Self::Overload => "overload",
            Self::NotReady => "not_ready",
            Self::NowhereToBill => "nowhere_to_bill",
            Self::BodyTooLarge => "body_too_large",
            Self::BodyTooSlow => "body_too_slow",
            Self::BodyBroken => "body_broken",
            Self::ContentEncoding => "content_encoding",
            Self::ContentType => "content_type",
            Self::OpenRtbVersion => "openrtb_version",
            Self::EncodingBroken => "encoding_broken",
            Self::ZstdWindow => "zstd_window",
            Self::ExpansionRatio => "expansion_ratio",
            Self::NotJson => "not_json",
            Self::NotAnObject => "not_an_object",
            Self::TooDeep => "too_deep",
            Self::DuplicateKey => "duplicate_key",
            Self::NumberOutOfRange => "number_out_of_range",
            Self::WrongType => "wrong_type",
            Self::StringTooLong => "string_too_long",
            Self::StringNul => "string_nul",
            Self::TooManyImps => "too_many_imps",
            Self::TooManyDeals => "too_many_deals",
            Self::TooManyEids => "too_many_eids",
            Self::TooManySchainNodes => "too_many_schain_nodes",
            Self::IdMissing => "id_missing",
            Self::ImpMissing => "imp_missing",
            Self::ImpIdMissing => "imp_id_missing",
            Self::ImpIdDuplicate => "imp_id_duplicate",
            Self::ImpNoMedia => "imp_no_media",
            Self::InventoryConflict => "inventory_conflict",
            Self::InventoryMissing => "inventory_missing",
            Self::BannerSize => "banner_size",
            Self::VideoMimes => "video_mimes",
            Self::VideoDuration => "video_duration",
            Self::AudioMimes => "audio_mimes",
            Self::AudioDuration => "audio_duration",
            Self::NativeRequest => "native_request",
            Self::Bidfloor => "bidfloor",
            Self::BidfloorCurrency => "bidfloorcur",
            Self::QtyMultiplier => "qty_multiplier",
            Self::DealIdMissing => "deal_id_missing",
            Self::DealIdDuplicate => "deal_id_duplicate",
            Self::DealAuctionType => "deal_auction_type",
            Self::AuctionTypeUnknown => "auction_type_unknown",
            Self::CurrencyUnknown => "currency_unknown",
            Self::DeviceAddress => "device_address",
            Self::RegsValue => "regs_value",
            Self::ChannelNotAllowed => "channel_not_allowed",
            Self::MediaNotAllowed => "media_not_allowed",
            Self::NoTimeLeft => "no_time_left",
            Self::KnownSpider => "known_spider",
            Self::DataCenter => "data_center",
            Self::BlockedInventory => "blocked_inventory",
            Self::Panic => "panic",
        }
    }

    /// `OpenRTB` no-bid reason code.
    pub const fn nbr(self) -> u16 {
        match self {
            Self::PartnerQps | Self::Overload | Self::NotReady | Self::NowhereToBill => {
                nbr::TECHNICAL_ERROR
            }
            Self::NoTimeLeft => nbr::INSUFFICIENT_TIME,
            Self::KnownSpider => nbr::KNOWN_SPIDER,
            Self::DataCenter => nbr::DATA_CENTER_OR_PROXY,
            Self::BlockedInventory => nbr::BLOCKED_PUBLISHER,
            Self::Panic => nbr::UNKNOWN_ERROR,
            _ => nbr::INVALID_REQUEST,
        }
    }
}
