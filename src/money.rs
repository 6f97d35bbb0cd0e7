//! Prices: integer micros of a known currency.
//!
//! Owns: [`Cpm`], [`CpmPerSecond`], [`Currency`], [`Rates`] and, with [`margin`] and [`multiplier`], every
//! rounding rule of the exchange.
//! Never: an `f64` past the edge. Invariant: arithmetic never wraps; what does not fit is `None`.
//!
//! Rounding: a price read from the wire is rounded half away from zero to a micro; a converted
//! price likewise, but for a floor that is sent, which is rounded up. One micro is a millionth of a currency unit per thousand impressions, that is
//! one billionth of a unit per impression: below any price that is paid.

pub mod margin;
pub mod multiplier;

use std::fmt;
use std::time::Duration;

/// Micros in one unit of a currency.
pub const MICROS: i64 = 1_000_000;

/// Parts in one unit of a [`CpmPerSecond`].
const NANOS: i64 = 1_000_000_000;

/// The largest price that is read: 10^9 units per thousand. Above it the number is a mistake.
const UNITS_MAX: f64 = 1e9;

/// Rates of a moment further ahead are of no day that there was: somebody mistyped it.
const AHEAD_MAX: Duration = Duration::from_secs(24 * 3_600);

/// Price per thousand impressions, in millionths of a currency unit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cpm(i64);

impl Cpm {
    /// Nothing; also "no floor".
    pub const ZERO: Self = Self(0);

    /// One hundredth of a unit: the step of a second-price auction.
    pub const CENT: Self = Self(MICROS / 100);

    /// From micros.
    pub const fn from_micros(micros: i64) -> Self {
        Self(micros)
    }

    /// From a number on the wire; `None` where it is not finite or beyond 10^9 units.
    pub fn from_wire(units: f64) -> Option<Self> {
        if !units.is_finite() || units.abs() > UNITS_MAX {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "|units| <= 10^9, so the product is under 10^15 and exact in an i64"
        )]
        let micros = (units * MICROS as f64).round() as i64;
        Some(Self(micros))
    }

    /// As [`Self::from_wire`], of a floor: what lies between two micros is the higher one, so that nothing
    /// that reaches it is below what came. Also whether that is not the nearest: a bid of what came
    /// does not reach it.
    pub fn floor_from_wire(units: f64) -> Option<(Self, bool)> {
        let nearest = Self::from_wire(units)?;
        let is_raised = is_above(units * MICROS as f64, nearest.0 as f64);
        Some((Self(nearest.0 + i64::from(is_raised)), is_raised))
    }

    /// The micros.
    pub const fn micros(self) -> i64 {
        self.0
    }

    /// Sum, or `None` beyond an `i64`.
    pub fn checked_add(self, other: Self) -> Option<Self> {
        self.0.checked_add(other.0).map(Self)
    }

    /// Writes the shortest exact decimal, such as `2.5`, `0.000001` or `3`.
    pub fn write_decimal(self, out: &mut Vec<u8>) {
        write_decimal(self.0, MICROS.unsigned_abs(), out);
    }
}

/// Whether a number of parts of a unit is above the nearest whole one. A decimal of few digits is not: its
/// double, times the parts, is off by less than a part of 2^50 of it.
fn is_above(parts: f64, nearest: f64) -> bool {
    const OFF: f64 = 1.0 / (1_u64 << 50) as f64;
    parts - nearest > parts.abs() * OFF
}

/// Writes `number` parts of a unit that has `parts` of them, a power of ten.
fn write_decimal(number: i64, parts: u64, out: &mut Vec<u8>) {
    let (whole, mut rest) = (number.unsigned_abs() / parts, number.unsigned_abs() % parts);
    if number < 0 {
        out.push(b'-');
    }
    let mut digits = itoa::Buffer::new();
    out.extend_from_slice(digits.format(whole).as_bytes());
    if rest == 0 {
        return;
    }
    out.push(b'.');
    let mut scale = parts / 10;
    while rest > 0 {
        #[expect(clippy::cast_possible_truncation, reason = "rest < 10 * scale: one digit")]
        out.push(b'0' + (rest / scale) as u8);
        rest %= scale;
        scale /= 10;
    }
}

impl fmt::Display for Cpm {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mut text = Vec::with_capacity(24);
        self.write_decimal(&mut text);
        f.write_str(std::str::from_utf8(&text).unwrap_or("0"))
    }
}

/// Price per thousand impressions and second, in billionths of a currency unit: with those of a
/// [`Cpm`] a minute would be off by up to 30 micros.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct CpmPerSecond(i64);

impl CpmPerSecond {
    /// From a number on the wire; `None` where it is not finite or beyond 10^9 units.
    pub fn from_wire(units: f64) -> Option<Self> {
        if !units.is_finite() || units.abs() > UNITS_MAX {
            return None;
        }
        #[expect(
            clippy::cast_possible_truncation,
            reason = "|units| <= 10^9, so it is under 10^18"
        )]
        let nanos = (units * 1e9).round() as i64;
        Some(Self(nanos))
    }

    /// As [`Cpm::floor_from_wire`], in billionths.
    pub fn floor_from_wire(units: f64) -> Option<(Self, bool)> {
        let nearest = Self::from_wire(units)?;
        #[expect(clippy::cast_precision_loss, reason = "what is lost over 2^53 is less than OFF")]
        let is_raised = is_above(units * 1e9, nearest.0 as f64);
        Some((Self(nearest.0 + i64::from(is_raised)), is_raised))
    }

    /// The price of so many seconds, rounded up or down to a micro; what does not fit is the
    /// highest or lowest price that does.
    pub fn over(self, seconds: u32) -> Cpm {
        let nanos = i128::from(self.0) * i128::from(seconds);
        let micros = (nanos + 500).div_euclid(1_000);
        Cpm(i64::try_from(micros).unwrap_or(if micros > 0 { i64::MAX } else { i64::MIN }))
    }

    /// With so much more for each second; the highest that there is where it does not fit.
    #[must_use]
    pub fn plus(self, more: Cpm) -> Self {
        Self(self.0.saturating_add(more.0.saturating_mul(1_000)))
    }

    /// As [`Cpm::write_decimal`].
    pub fn write_decimal(self, out: &mut Vec<u8>) {
        write_decimal(self.0, NANOS.unsigned_abs(), out);
    }
}

/// An ISO 4217 alphabetic code, such as `USD`.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Currency([u8; 3]);

impl Currency {
    /// The standard's default (`OpenRTB` 2.6, 3.2.4 `bidfloorcur`, 4.2.1 `cur`).
    pub const USD: Self = Self(*b"USD");

    /// Three ASCII letters, folded to upper case; anything else is `None`.
    pub fn parse(code: &str) -> Option<Self> {
        let bytes: [u8; 3] = code.as_bytes().try_into().ok()?;
        bytes
            .iter()
            .all(u8::is_ascii_alphabetic)
            .then(|| Self(bytes.map(|b| b.to_ascii_uppercase())))
    }

    /// The code.
    pub fn as_str(&self) -> &str {
        std::str::from_utf8(&self.0).unwrap_or("USD")
    }
}

impl Default for Currency {
    fn default() -> Self {
        Self::USD
    }
}

impl fmt::Display for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Debug for Currency {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Exchange rates: how many units of each currency one unit of the base buys.
///
/// A currency is known when it has a rate; the base always has one.
#[derive(Clone, Debug, PartialEq)]
pub struct Rates {
    base: Currency,
    /// Sorted by currency; each rate finite and > 0.
    per_base: Vec<(Currency, f64)>,
    /// When they held, since the Unix epoch, and how old they may grow.
    dated: Option<(Duration, Duration)>,
    /// They convert nothing: only prices of one currency can be compared.
    is_stale: bool,
}

impl Default for Rates {
    fn default() -> Self {
        let per_base = vec![(Currency::USD, 1.0)];
        Self { base: Currency::USD, per_base, dated: None, is_stale: false }
    }
}

impl Rates {
    /// Rates against `base`; the first one that is not finite or not above zero is the error.
    pub fn new(
        base: Currency,
        rates: impl IntoIterator<Item = (Currency, f64)>,
    ) -> Result<Self, Currency> {
        let mut per_base = vec![(base, 1.0)];
        for (currency, rate) in rates {
            if !(rate.is_finite() && rate > 0.0) {
                return Err(currency);
            }
            if currency != base {
                per_base.push((currency, rate));
            }
        }
        per_base.sort_unstable_by_key(|(currency, _)| *currency);
        per_base.dedup_by_key(|(currency, _)| *currency);
        Ok(Self { base, per_base, dated: None, is_stale: false })
    }

    /// Says of which moment they are (since the Unix epoch) and how old they may grow.
    #[must_use]
    pub fn dated(self, as_of: Duration, age_max: Duration) -> Self {
        Self { dated: Some((as_of, age_max)), ..self }
    }

    /// How old they are at a moment, where they say of when they are; from the future: not at all.
    pub fn age(&self, wall: Duration) -> Option<Duration> {
        self.dated.map(|(as_of, _)| wall.saturating_sub(as_of))
    }

    /// Whether they are older than they may be, or of a moment that is far ahead: a year that was
    /// mistyped must not keep them fresh for ever.
    pub fn are_stale(&self, wall: Duration) -> bool {
        self.is_stale
            || self.dated.is_some_and(|(as_of, most)| {
                wall.saturating_sub(as_of) > most || as_of.saturating_sub(wall) > AHEAD_MAX
            })
    }

    /// The same currencies, none of which converts into another. They stay known: a request in
    /// one currency is sold as before.
    #[must_use]
    pub fn stale(&self) -> Self {
        Self { is_stale: true, ..self.clone() }
    }

    /// Whether a price of one can be compared with one of the other.
    pub fn converts(&self, from: Currency, to: Currency) -> bool {
        from == to || (!self.is_stale && self.knows(from) && self.knows(to))
    }

    /// The base.
    pub fn base(&self) -> Currency {
        self.base
    }

    /// Whether prices in this currency can be compared with others.
    pub fn knows(&self, currency: Currency) -> bool {
        self.rate(currency).is_some()
    }

    /// `price` of `from` in `to`; `None` where a rate is missing or the result does not fit.
    /// The same currency never converts, known or not. Nothing is nothing in any currency, also by
    /// rates that are stale.
    pub fn convert(&self, price: Cpm, from: Currency, to: Currency) -> Option<Cpm> {
        if self.is_stale && from != to {
            return (price == Cpm::ZERO).then_some(price);
        }
        self.convert_roughly(price, from, to)
    }

    /// As [`Self::convert`], also by rates that are stale: for a bound, never for a price.
    pub fn convert_roughly(&self, price: Cpm, from: Currency, to: Currency) -> Option<Cpm> {
        if from == to {
            return Some(price);
        }
        let factor = self.rate(to)? / self.rate(from)?;
        Cpm::from_wire(price.micros() as f64 / MICROS as f64 * factor)
    }

    /// A floor as it is sent to a bidder, in the currency `to`: [`Self::convert`], raised by the
    /// micro or two that it takes for a bid of what was sent to reach the floor when both are
    /// compared in a third currency (the auction's).
    pub fn convert_up(
        &self,
        floor: Cpm,
        (from, to): (Currency, Currency),
        compared_in: Currency,
    ) -> Option<Cpm> {
        let mut sent = self.convert(floor, from, to)?;
        let Some(wanted) = self.convert(floor, from, compared_in) else { return Some(sent) };
        // The nearest micro is at most half of one short, and what follows from the two divisions
        // is less than another.
        for _ in 0..2 {
            if self.convert(sent, to, compared_in)? >= wanted {
                break;
            }
            sent = sent.checked_add(Cpm(1))?;
        }
        Some(sent)
    }

    fn rate(&self, currency: Currency) -> Option<f64> {
        let found = self.per_base.binary_search_by_key(&currency, |(known, _)| *known).ok()?;
        self.per_base.get(found).map(|(_, rate)| *rate)
    }
}

#[cfg(test)]
mod tests;
