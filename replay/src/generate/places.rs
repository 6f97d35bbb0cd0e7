//! Countries of synthetic users.
//!
//! Owns: a small table of public facts: country, language, currency, privacy regime, and a few
//! large cities with their rounded position. Never: an address of a person.

/// A country.
pub(super) struct Place {
    /// ISO 3166-1 alpha-3.
    pub country: &'static str,
    /// ISO 639-1.
    pub language: &'static str,
    pub currency: &'static str,
    pub regime: Regime,
    /// Share of the traffic, as a weight.
    pub weight: f64,
    /// Name, region (ISO 3166-2 without the country), latitude, longitude.
    pub cities: &'static [(&'static str, &'static str, f64, f64)],
    /// Minutes from UTC.
    pub utcoffset: i32,
}

/// Which law speaks in the request.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum Regime {
    Gdpr,
    UsPrivacy,
    None,
}

/// All; a country that is listed first is not preferred, its weight says how often it comes.
#[rustfmt::skip]
pub(super) const PLACES: &[Place] = &[
    Place { country: "USA", language: "en", currency: "USD", regime: Regime::UsPrivacy, weight: 34.0, utcoffset: -300,
        cities: &[("New York", "NY", 40.71, -74.01), ("Chicago", "IL", 41.88, -87.63), ("Houston", "TX", 29.76, -95.37), ("Los Angeles", "CA", 34.05, -118.24), ("Seattle", "WA", 47.61, -122.33)] },
    Place { country: "DEU", language: "de", currency: "EUR", regime: Regime::Gdpr, weight: 9.0, utcoffset: 60,
        cities: &[("Berlin", "BE", 52.52, 13.40), ("Hamburg", "HH", 53.55, 9.99), ("Munich", "BY", 48.14, 11.58)] },
    Place { country: "GBR", language: "en", currency: "GBP", regime: Regime::Gdpr, weight: 9.0, utcoffset: 0,
        cities: &[("London", "ENG", 51.51, -0.13), ("Manchester", "ENG", 53.48, -2.24), ("Glasgow", "SCT", 55.86, -4.25)] },
    Place { country: "FRA", language: "fr", currency: "EUR", regime: Regime::Gdpr, weight: 6.0, utcoffset: 60,
        cities: &[("Paris", "IDF", 48.86, 2.35), ("Lyon", "ARA", 45.76, 4.84)] },
    Place { country: "JPN", language: "ja", currency: "JPY", regime: Regime::None, weight: 6.0, utcoffset: 540,
        cities: &[("Tokyo", "13", 35.68, 139.69), ("Osaka", "27", 34.69, 135.50)] },
    Place { country: "BRA", language: "pt", currency: "USD", regime: Regime::None, weight: 5.0, utcoffset: -180,
        cities: &[("São Paulo", "SP", -23.55, -46.63), ("Rio de Janeiro", "RJ", -22.91, -43.17)] },
    Place { country: "IND", language: "hi", currency: "USD", regime: Regime::None, weight: 5.0, utcoffset: 330,
        cities: &[("Mumbai", "MH", 19.08, 72.88), ("Bengaluru", "KA", 12.97, 77.59)] },
    Place { country: "CAN", language: "en", currency: "CAD", regime: Regime::None, weight: 4.0, utcoffset: -300,
        cities: &[("Toronto", "ON", 43.65, -79.38), ("Montréal", "QC", 45.50, -73.57)] },
    Place { country: "AUS", language: "en", currency: "AUD", regime: Regime::None, weight: 3.0, utcoffset: 600,
        cities: &[("Sydney", "NSW", -33.87, 151.21), ("Melbourne", "VIC", -37.81, 144.96)] },
    Place { country: "ESP", language: "es", currency: "EUR", regime: Regime::Gdpr, weight: 3.0, utcoffset: 60,
        cities: &[("Madrid", "MD", 40.42, -3.70), ("Barcelona", "CT", 41.39, 2.17)] },
    Place { country: "ITA", language: "it", currency: "EUR", regime: Regime::Gdpr, weight: 3.0, utcoffset: 60,
        cities: &[("Rome", "62", 41.90, 12.50), ("Milan", "25", 45.46, 9.19)] },
    Place { country: "MEX", language: "es", currency: "USD", regime: Regime::None, weight: 3.0, utcoffset: -360,
        cities: &[("Mexico City", "CMX", 19.43, -99.13), ("Guadalajara", "JAL", 20.67, -103.35)] },
    Place { country: "NLD", language: "nl", currency: "EUR", regime: Regime::Gdpr, weight: 2.0, utcoffset: 60,
        cities: &[("Amsterdam", "NH", 52.37, 4.90), ("Rotterdam", "ZH", 51.92, 4.48)] },
    Place { country: "POL", language: "pl", currency: "EUR", regime: Regime::Gdpr, weight: 2.0, utcoffset: 60,
        cities: &[("Warsaw", "14", 52.23, 21.01), ("Kraków", "12", 50.06, 19.94)] },
    Place { country: "SWE", language: "sv", currency: "EUR", regime: Regime::Gdpr, weight: 1.5, utcoffset: 60,
        cities: &[("Stockholm", "AB", 59.33, 18.07)] },
    Place { country: "ZAF", language: "en", currency: "USD", regime: Regime::None, weight: 1.0, utcoffset: 120,
        cities: &[("Johannesburg", "GP", -26.20, 28.05)] },
    Place { country: "KOR", language: "ko", currency: "USD", regime: Regime::None, weight: 1.5, utcoffset: 540,
        cities: &[("Seoul", "11", 37.57, 126.98)] },
    Place { country: "THA", language: "th", currency: "USD", regime: Regime::None, weight: 1.0, utcoffset: 420,
        cities: &[("Bangkok", "10", 13.76, 100.50)] },
];
