//! How much a compressor with a long window finds again.
//!
//! Owns: a zstd stream whose output is counted and thrown away. Invariant: memory is that of the
//! window and a fixed buffer.
//!
//! This is the axis that needs no idea of what a bid request is: whatever repeats, in whichever
//! field, is found, also where a template gets fresh ids.

use zstd::stream::raw::{CParameter, Encoder, InBuffer, Operation, OutBuffer};

/// Speed over ratio: both sides are compressed alike.
const LEVEL: i32 = 1;

/// Bytes in and out.
pub(super) struct Squeeze {
    /// None: the library had no memory for it.
    encoder: Option<Encoder<'static>>,
    out: Vec<u8>,
    bytes_in: u64,
    bytes_out: u64,
}

impl std::fmt::Debug for Squeeze {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { bytes_in, bytes_out, .. } = self;
        write!(f, "Squeeze({bytes_in} -> {bytes_out})")
    }
}

impl Squeeze {
    /// With a window of so many bytes, as a power of two.
    pub fn new(window_log: u32) -> Self {
        let encoder = Encoder::new(LEVEL).and_then(|mut encoder| {
            encoder.set_parameter(CParameter::WindowLog(window_log.clamp(10, 27)))?;
            encoder.set_parameter(CParameter::EnableLongDistanceMatching(true))?;
            Ok(encoder)
        });
        Self { encoder: encoder.ok(), out: vec![0; 128 << 10], bytes_in: 0, bytes_out: 0 }
    }

    /// Takes bytes.
    pub fn take(&mut self, bytes: &[u8]) {
        let Some(encoder) = &mut self.encoder else { return };
        self.bytes_in += bytes.len() as u64;
        let mut input = InBuffer::around(bytes);
        while input.pos() < bytes.len() {
            let mut out = OutBuffer::around(self.out.as_mut_slice());
            if encoder.run(&mut input, &mut out).is_err() {
                self.encoder = None;
                return;
            }
            self.bytes_out += out.pos() as u64;
        }
    }

    /// Bytes in for each byte out; `None` where the compressor failed or nothing came.
    pub fn ratio(&mut self) -> Option<f64> {
        let encoder = self.encoder.as_mut()?;
        loop {
            let mut out = OutBuffer::around(self.out.as_mut_slice());
            let left = encoder.flush(&mut out).ok()?;
            self.bytes_out += out.pos() as u64;
            if left == 0 {
                break;
            }
        }
        (self.bytes_out > 0).then(|| self.bytes_in as f64 / self.bytes_out as f64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::random::Random;

    #[test]
    fn what_repeats_far_back_is_found() {
        let mut random = Random::seeded(1);
        // 1 MiB that cannot be compressed
        let noise: Vec<u8> = (0..1 << 20).map(|_| random.bits().to_le_bytes()[0]).collect();
        let mut once = Squeeze::new(23);
        once.take(&noise);
        assert!((once.ratio().unwrap() - 1.0).abs() < 0.01);
        once.take(&noise);
        assert!((once.ratio().unwrap() - 2.0).abs() < 0.05, "{once:?}");
        assert_eq!(Squeeze::new(23).ratio(), None);
    }
}
