//! How often what occurs in synthetic traffic.
//!
//! Owns: [`Mix`], read from `data/traffic.toml`, which also holds the figures that were measured
//! over public corpora and says which of them the mix follows. Never: a draw.

use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The data file.
const TEXT: &str = include_str!("../../data/traffic.toml");

/// What the file says.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Traffic {
    /// Measured, by corpus.
    pub corpus: BTreeMap<String, Measured>,
    pub mix: Mix,
}

/// What `measure` finds in a corpus: numbers only.
#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Measured {
    /// Name of the file in the public data.
    pub file: String,
    pub requests: usize,
    /// Sizes of the bodies without white space.
    pub bytes_mean: usize,
    pub bytes_p10: usize,
    pub bytes_p50: usize,
    pub bytes_p90: usize,
    /// Share of the requests in which a path is present.
    pub present: BTreeMap<String, f64>,
    /// Mean number of elements of an array, where it is present.
    pub elements: BTreeMap<String, f64>,
}

/// Probabilities and weights that the generator draws by.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Mix {
    /// Weights of site, app, dooh.
    pub channel: [f64; 3],
    /// Weights of banner, video, audio, native, and banner with another one.
    pub media: [f64; 5],
    /// Weights of 1, 2, 3, 4 imps.
    pub imps: [f64; 4],
    /// Weights of Android phone, iPhone, tablet, desktop, television, console, bot.
    pub device: [f64; 7],
    /// The following are probabilities that a field is present, or that something is so.
    pub openrtb_26: f64,
    pub at: f64,
    pub first_price: f64,
    pub tmax: f64,
    pub cur: f64,
    pub bcat: f64,
    pub badv: f64,
    pub bapp: f64,
    pub floor: f64,
    pub floor_in_local_currency: f64,
    pub secure: f64,
    pub interstitial: f64,
    pub rewarded: f64,
    pub deals: f64,
    pub private_auction: f64,
    pub metric: f64,
    pub ipv6: f64,
    pub geo: f64,
    pub geo_country: f64,
    pub geo_zip: f64,
    pub geo_point: f64,
    pub make_model: f64,
    pub screen: f64,
    pub language: f64,
    pub carrier: f64,
    pub connectiontype: f64,
    pub sua: f64,
    pub lmt: f64,
    pub user: f64,
    pub user_id: f64,
    pub buyeruid: f64,
    pub eids: f64,
    pub user_data: f64,
    pub coppa: f64,
    pub consent_given: f64,
    pub opt_out: f64,
    pub schain: f64,
    pub content: f64,
    pub imp_ext: f64,
    /// Median of the floors, and deviation of their logarithm.
    pub floor_median: f64,
    pub floor_sigma: f64,
}

/// The committed figures.
pub static TRAFFIC: LazyLock<Traffic> = LazyLock::new(|| {
    toml::from_str(TEXT).unwrap_or_else(|error| unreachable!("data/traffic.toml: {error}"))
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_committed_figures_can_be_read() {
        assert_eq!(TRAFFIC.corpus.len(), 2);
        assert!(TRAFFIC.mix.channel.iter().all(|weight| *weight > 0.0));
    }
}
