//! The auction from outside: tables of cases, and what holds for every auction.

mod answers;
mod around;
mod bought;
mod cases;
mod durations;
mod edges;
mod fitting;
pub mod fixture;
mod floor_rules;
mod malformed;
mod margin;
mod min_to_win;
mod money;
mod properties;
mod safety;
mod several;
