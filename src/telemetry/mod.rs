//! What gavel counts, and how it is read.
//!
//! One table of instruments (`meters`), cells that one thread each writes (`cells`), a hub that
//! adds them up (`hub`), and ways to show them (`render`). Nothing here is known to a
//! stage that computes: the road counts what the stages gave back.

pub mod books;
pub mod budget;
pub mod cells;
pub mod histogram;
pub mod hub;
pub mod meter;
pub mod meters;
pub mod notices;
pub mod otlp;
pub mod otlp_traces;
pub mod render;
pub mod row;
pub mod slots;
pub mod spans;
pub mod stages;
pub mod words;
