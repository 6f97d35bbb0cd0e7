//! Names, enums and codes of the standard; no business.

pub mod codes;
pub mod ids;
