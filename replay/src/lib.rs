//! gavel-replay: synthetic and recorded OpenRTB traffic, played against gavel and judged.
//!
//! | module | owns |
//! |---|---|
//! | `mmdb` | address databases of the project's own |
//! | `pack` | files of a recording -> one, small |
//! | `random` | numbers that follow from a seed |
//! | `verdict` | how a command ends |
//! | `wire` | waiting for sockets and absolute times; where HTTP/1.1 messages end |
//! | `client` | one request to a control page |
//! | `calibrate` | what this machine's generator can do, as somebody else sees it |
//! | `commands` | the smaller commands of the binary |
//! | `ask` | one request after the other, with the whole answer |
//! | `assertions` | what must hold of each answer, by the rules of the domain |
//! | `demo` | `cargo demo` |
//! | `diff` | whether two builds answer alike, with the noise of the first taken out |
//! | `drive` | load at planned moments, latency from those moments |
//! | `fingerprint` | how diverse traffic is, and whether what was sent is as diverse as what was recorded |
//! | `feed` | records read ahead of the clock, made unique, ready to be written |
//! | `generate` | synthetic requests, fitted to public figures |
//! | `import` | other tools' recordings as captures |
//! | `inspect` | the seam to whoever looks at what was sent and what came back |
//! | `interrupt` | Ctrl-C |
//! | `judge` | objectives, assertions and gate of a run together, and its verdict |
//! | `lint` | whether a recording holds anything personal that is no pseudonym |
//! | `report` | pages and files of a run or a comparison; two runs compared, shards joined |
//! | `result` | what a run measured, as one value: written, read, merged |
//! | `run` | plans from arguments, the live view, what is printed |
//! | `sample` | requests out of a capture, for those who ask one by one |
//! | `search` | the highest rate that holds an objective |
//! | `show` | what is in a capture, for people and as JSON |
//! | `shrink` | a failing set of requests -> the smallest that still fails |
//! | `slo` | objectives as text |
//! | `stub` | simulated bidders: a seeded model with faults, or the answers of a recording |

pub mod ask;
pub mod assertions;
pub mod calibrate;
pub mod client;
pub mod commands;
pub mod demo;
pub mod diff;
pub mod drive;
pub mod feed;
pub mod fingerprint;
pub mod generate;
pub mod import;
pub mod inspect;
pub mod interrupt;
pub mod judge;
pub mod lint;
pub mod mmdb;
pub mod pack;
pub mod printed;
pub mod random;
pub mod report;
pub mod result;
pub mod run;
pub mod sample;
pub mod search;
pub mod show;
pub mod shrink;
pub mod slo;
pub mod stub;
pub mod verdict;
pub mod wire;
