//! How much of a request is read.
//!
//! Owns: [`Limits`]. The limit on the body's bytes stands where bodies are read.

/// As many imps as a set of imps can hold (`bidder::ImpSet`).
pub const IMPS_CEILING: usize = 64;

/// What a request may hold at most; more is refused, never cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Nested objects and arrays, the request itself included. 8 to 1,024.
    pub depth_max: usize,
    /// Elements of `imp`. 1 to 64.
    pub imps_max: usize,
    /// Elements of `imp.pmp.deals`. 1 to 10,000.
    pub deals_max: usize,
    /// Elements of `user.eids`. 1 to 10,000.
    pub eids_max: usize,
    /// Elements of `uids` of one of `user.eids`. 1 to 10,000.
    pub uids_max: usize,
    /// Elements of `source.schain.nodes`. 1 to 1,000.
    pub schain_nodes_max: usize,
    /// Bytes of a string that the road reads, un-escaped. 64 to 1,048,576.
    pub string_bytes_max: usize,
    /// Bytes of `native.request`, un-escaped: a document of its own. 64 to 1,048,576.
    pub native_bytes_max: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            depth_max: 64,
            imps_max: 50,
            deals_max: 100,
            eids_max: 100,
            uids_max: 50,
            schain_nodes_max: 20,
            string_bytes_max: 8 << 10,
            native_bytes_max: 64 << 10,
        }
    }
}
