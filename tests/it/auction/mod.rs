//! The auction from outside: tables of cases, and what holds for every auction.

mod cases;
mod fixture;
mod properties;
