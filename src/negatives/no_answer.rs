//! Why an invited bidder gave nothing usable.
//!
//! Owns: the closed list with its labels and the codes of the seat-non-bid extension (0 no bid,
//! 100 general, 101 timeout, 102 invalid bid response, 103 unreachable).

/// An invited bidder gave nothing that can be auctioned.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum NoAnswer {
    /// 204, or a bid response without a bid.
    NoBid,
    /// Not complete at the deadline.
    Late,
    /// No connection: refused, unreachable, or no address.
    ConnectRefused,
    /// No connection in time.
    ConnectTimeout,
    /// The TLS handshake failed; there is no plain-text fallback.
    Tls,
    /// The connection broke inside the exchange.
    Broken,
    /// Not an HTTP answer that can be read.
    Http,
    /// A redirect; never followed.
    Redirect,
    /// A 4xx other than 429.
    ClientStatus,
    /// 429.
    TooManyRequests,
    /// A 5xx.
    ServerStatus,
    /// A status that is none of the others.
    OtherStatus,
    /// The answer is over its cap, on the wire or decoded.
    TooLarge,
    /// A content coding that we did not offer, or one that does not decode.
    Encoding,
    /// Not a JSON object.
    NotJson,
    /// The answer or one of its seats has one key twice.
    DuplicateKey,
    /// JSON, but no bid response.
    Invalid,
    /// The answer's `id` is not the request's.
    WrongId,
    /// More bids than the limit.
    TooManyBids,
    /// No connection was free and no more may, or can, be opened.
    PoolFull,
}

impl NoAnswer {
    /// All, in the order of their discriminants.
    pub const ALL: [Self; 20] = [
        Self::NoBid,
        Self::Late,
        Self::ConnectRefused,
        Self::ConnectTimeout,
        Self::Tls,
        Self::Broken,
        Self::Http,
        Self::Redirect,
        Self::ClientStatus,
        Self::TooManyRequests,
        Self::ServerStatus,
        Self::OtherStatus,
        Self::TooLarge,
        Self::Encoding,
        Self::NotJson,
        Self::DuplicateKey,
        Self::Invalid,
        Self::WrongId,
        Self::TooManyBids,
        Self::PoolFull,
    ];

    /// Position in [`Self::ALL`], for per-reason tables.
    pub const fn index(self) -> usize {
        self as usize
    }

    /// Short stable code: `x-gavel-reason`, metric label, log field.
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoBid => "no_bid",
            Self::Late => "late",
            Self::ConnectRefused => "connect_refused",
            Self::ConnectTimeout => "connect_timeout",
            Self::Tls => "tls",
            Self::Broken => "broken",
            Self::Http => "http",
            Self::Redirect => "redirect",
            Self::ClientStatus => "client_status",
            Self::TooManyRequests => "too_many_requests",
            Self::ServerStatus => "server_status",
            Self::OtherStatus => "other_status",
            Self::TooLarge => "too_large",
            Self::Encoding => "encoding",
            Self::NotJson => "not_json",
            Self::DuplicateKey => "duplicate_key",
            Self::Invalid => "invalid",
            Self::WrongId => "wrong_id",
            Self::TooManyBids => "too_many_bids",
            Self::PoolFull => "pool_full",
        }
    }

    /// Non-bid status code.
    pub const fn status(self) -> u16 {
        match self {
            Self::NoBid => 0,
            Self::Broken | Self::PoolFull => 100,
            Self::Late | Self::ConnectTimeout => 101,
            Self::ConnectRefused | Self::Tls => 103,
            _ => 102,
        }
    }
}
