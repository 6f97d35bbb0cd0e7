//! The journal against disks that fail, and as a whole.

mod beside;
mod command;
mod damage;
mod disk;
mod kill;
mod letters;
mod pair;
mod room;
mod seeds;
mod sinks;
mod threads;
