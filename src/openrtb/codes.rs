//! Codes of the standard's closed lists that gavel writes: no-bid reasons, loss reasons, and
//! the non-bid status list of the seat-non-bid extension.
//!
//! Owns: the numbers with their meaning. Never: which case earns which number (each enum of
//! negatives says that beside itself).

/// `OpenRTB` 2.6 "No-Bid Reason Codes" (`BidResponse.nbr`).
pub mod nbr {
    pub const UNKNOWN_ERROR: u16 = 0;
    pub const TECHNICAL_ERROR: u16 = 1;
    pub const INVALID_REQUEST: u16 = 2;
    pub const KNOWN_SPIDER: u16 = 3;
    pub const SUSPECTED_NON_HUMAN: u16 = 4;
    pub const DATA_CENTER_OR_PROXY: u16 = 5;
    pub const UNSUPPORTED_DEVICE: u16 = 6;
    pub const BLOCKED_PUBLISHER: u16 = 7;
    pub const UNMATCHED_USER: u16 = 8;
    pub const DAILY_USER_CAP: u16 = 9;
    pub const DAILY_DOMAIN_CAP: u16 = 10;
    pub const ADS_TXT_UNAVAILABLE: u16 = 11;
    pub const ADS_TXT_VIOLATION: u16 = 12;
    pub const ADS_CERT_UNAVAILABLE: u16 = 13;
    pub const ADS_CERT_VIOLATION: u16 = 14;
    pub const INSUFFICIENT_TIME: u16 = 15;
    pub const INCOMPLETE_SCHAIN: u16 = 16;
    pub const BLOCKED_SCHAIN_NODE: u16 = 17;
}

/// "Loss Reason Codes" (`${AUCTION_LOSS}`).
pub mod loss {
    pub const WON: u16 = 0;
    pub const INTERNAL_ERROR: u16 = 1;
    pub const IMP_EXPIRED: u16 = 2;
    pub const INVALID_BID: u16 = 3;
    pub const INVALID_DEAL: u16 = 4;
    pub const INVALID_AUCTION_ID: u16 = 5;
    pub const INVALID_ADVERTISER_DOMAIN: u16 = 6;
    pub const MISSING_MARKUP: u16 = 7;
    pub const MISSING_CREATIVE_ID: u16 = 8;
    pub const MISSING_PRICE: u16 = 9;
    pub const MISSING_CREATIVE_APPROVAL: u16 = 10;
    pub const BELOW_FLOOR: u16 = 100;
    pub const BELOW_DEAL_FLOOR: u16 = 101;
    pub const LOST_TO_HIGHER_BID: u16 = 102;
    pub const LOST_TO_DEAL: u16 = 103;
    pub const SEAT_BLOCKED: u16 = 104;
    pub const CREATIVE_GENERAL: u16 = 200;
    pub const CREATIVE_PENDING: u16 = 201;
    pub const CREATIVE_DISAPPROVED: u16 = 202;
    pub const CREATIVE_SIZE: u16 = 203;
    pub const CREATIVE_FORMAT: u16 = 204;
    pub const CREATIVE_ADVERTISER: u16 = 205;
    pub const CREATIVE_APP: u16 = 206;
    pub const CREATIVE_NOT_SECURE: u16 = 207;
    pub const CREATIVE_LANGUAGE: u16 = 208;
    pub const CREATIVE_CATEGORY: u16 = 209;
    pub const CREATIVE_ATTRIBUTE: u16 = 210;
    pub const CREATIVE_AD_TYPE: u16 = 211;
    pub const CREATIVE_ANIMATION: u16 = 212;
    pub const CREATIVE_NOT_ALLOWED_IN_DEAL: u16 = 213;
}
