//! How much is let in: rates and counts of the whole process leased to its workers, and each
//! worker's own measure of what it can serve in time.
//!
//! Pure: instants come in as parameters. Nothing here is written by two threads on the road: a
//! worker writes its own cache line, the control side reads it about every 100 ms.

pub mod admission;
pub mod bank;
pub mod gate;
pub mod rate;
pub mod share;
