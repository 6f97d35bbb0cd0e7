//! A set of requests that fails, reduced to the smallest that still does.
//!
//! Owns: the order of the reduction ([`shrink`]): first whole requests, then what is in each; and
//! its bound ([`Budget`]). Never: what failing means (that is `check`). Invariants: what comes out
//! was itself seen to fail; where the bound was not reached it is minimal: with any one request, or
//! any one member of a body, less it no longer fails.
//!
//! The method is Zeller and Hildebrandt's ddmin, on the list of requests and then level by level on
//! the tree of each body (Misherghi and Su). The order of requests is kept: a failure may need one
//! before the other.

mod body;
mod check;
pub mod command;
pub mod ddmin;

use crate::ask::Asked;

/// How often may be asked whether something still fails.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Budget {
    pub left: u64,
    pub used: u64,
}

/// Why a reduction stops early.
#[derive(Debug)]
pub enum Stop<E> {
    /// The budget is used up; what was reached so far fails.
    Spent,
    Fault(E),
}

/// What a reduction came to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shrunk {
    pub requests: Vec<Asked>,
    /// Where each stood in the set, from 0.
    pub places: Vec<usize>,
    pub checks: u64,
    /// Whether nothing less fails, as against the budget having ended.
    pub is_minimal: bool,
}

/// Reduces `set`, which fails. `is_marked`: a request that says that it is a test goes on to say so.
pub fn shrink<E>(
    set: &[Asked],
    budget: &mut Budget,
    is_marked: bool,
    fails: &mut dyn FnMut(&[Asked]) -> Result<bool, E>,
) -> Result<Shrunk, E> {
    let mut spend = |set: &[Asked]| {
        if budget.left == 0 {
            return Err(Stop::Spent);
        }
        budget.left -= 1;
        budget.used += 1;
        fails(set).map_err(Stop::Fault)
    };
    let mut places: Vec<usize> = (0..set.len()).collect();
    let chosen = |places: &[usize]| -> Vec<Asked> {
        places.iter().filter_map(|place| set.get(*place)).cloned().collect()
    };
    let first = ddmin::ddmin(&mut places, 1, &mut |places| spend(&chosen(places)));
    let mut requests = chosen(&places);
    let mut ended = first;
    for index in 0..requests.len() {
        if ended.is_err() {
            break;
        }
        ended = body::reduce(&mut requests, index, is_marked, &mut spend);
    }
    let is_minimal = match ended {
        Ok(()) => true,
        Err(Stop::Spent) => false,
        Err(Stop::Fault(fault)) => return Err(fault),
    };
    Ok(Shrunk { requests, places, checks: budget.used, is_minimal })
}

#[cfg(test)]
mod tests;
