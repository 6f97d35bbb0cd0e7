//! What is in a failing request, reduced.
//!
//! Owns: which members and elements of a body can be left out, and, where a body is no JSON or no
//! longer fails once it is written anew, its bytes. Never: what failing means. Invariant: a request
//! that said that it is a test says so in every form that is sent.

use super::Stop;
use super::ddmin::{Fails, ddmin};
use crate::ask::Asked;
use serde_json::Value;

/// Levels of a body that are reduced; what is deeper goes or stays with what holds it.
const DEPTH_MAX: usize = 32;
/// A string that is longer is tried as an empty one.
const SHORT: usize = 8;
/// Bytes up to which a body that is no JSON is reduced byte by byte.
const BYTES_MAX: usize = 64 << 10;

/// Reduces the body of one request of a set that fails.
pub(super) fn reduce<E>(
    set: &mut [Asked],
    index: usize,
    is_marked: bool,
    fails: &mut Fails<'_, Asked, E>,
) -> Result<(), Stop<E>> {
    let Some(body) = set.get(index).map(|asked| asked.body.clone()) else { return Ok(()) };
    let is_marked = is_marked && says_test(&body);
    // what is tried; it stays where it fails too
    let mut try_body = |body: Vec<u8>| -> Result<bool, Stop<E>> {
        if is_marked && !says_test(&body) && serde_json::from_slice::<Value>(&body).is_ok() {
            return Ok(false);
        }
        let Some(asked) = set.get_mut(index) else { return Ok(false) };
        let before = std::mem::replace(&mut asked.body, body);
        let outcome = fails(set);
        if !matches!(outcome, Ok(true))
            && let Some(asked) = set.get_mut(index)
        {
            asked.body = before;
        }
        outcome
    };
    match serde_json::from_slice::<Value>(&body) {
        Ok(mut value) if try_body(value.to_string().into_bytes())? => {
            for depth in 1..=DEPTH_MAX {
                if !level(&mut value, depth, &mut try_body)? {
                    break;
                }
            }
            strings(&mut value, &mut try_body)
        }
        _ if body.len() <= BYTES_MAX => {
            let mut bytes = body;
            ddmin(&mut bytes, 0, &mut |bytes| try_body(bytes.to_vec()))
        }
        _ => Ok(()),
    }
}

fn says_test(body: &[u8]) -> bool {
    let value: Option<Value> = serde_json::from_slice(body).ok();
    value.is_some_and(|value| value.get("test") == Some(&Value::from(1)))
}

/// Reduces what stands at one depth; `false`: nothing stands there.
fn level<E>(
    value: &mut Value,
    depth: usize,
    try_body: &mut dyn FnMut(Vec<u8>) -> Result<bool, Stop<E>>,
) -> Result<bool, Stop<E>> {
    let mut all = Vec::new();
    paths(value, depth, &mut Vec::new(), &mut all);
    if all.is_empty() {
        return Ok(false);
    }
    let whole = value.clone();
    let mut kept = all.clone();
    let ended = ddmin(&mut kept, 0, &mut |kept| {
        try_body(without(&whole, &all, kept).to_string().into_bytes())
    });
    *value = without(&whole, &all, &kept);
    ended.map(|()| true)
}

/// A place in a body: names and indexes, from the top.
type Path = Vec<Step>;

#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Name(String),
    Index(usize),
}

/// The places at a depth, in their order.
fn paths(value: &Value, depth: usize, at: &mut Path, found: &mut Vec<Path>) {
    if depth == 0 {
        found.push(at.clone());
        return;
    }
    let mut go = |step: Step, inner: &Value| {
        at.push(step);
        paths(inner, depth - 1, at, found);
        at.pop();
    };
    match value {
        Value::Object(map) => {
            map.iter().for_each(|(name, inner)| go(Step::Name(name.clone()), inner));
        }
        Value::Array(list) => {
            list.iter().enumerate().for_each(|(index, inner)| go(Step::Index(index), inner));
        }
        _ => {}
    }
}

/// The body without those of `all` that are not in `kept`.
fn without(whole: &Value, all: &[Path], kept: &[Path]) -> Value {
    let mut value = whole.clone();
    // both are in order: from behind, so that indexes before stay what they are
    let mut kept = kept.iter().rev().peekable();
    for path in all.iter().rev() {
        if kept.next_if(|one| *one == path).is_none() {
            remove(&mut value, path);
        }
    }
    value
}

fn remove(value: &mut Value, path: &[Step]) {
    let Some((last, before)) = path.split_last() else { return };
    match (find(value, before), last) {
        (Some(Value::Object(map)), Step::Name(name)) => drop(map.remove(name)),
        (Some(Value::Array(elements)), Step::Index(index)) if *index < elements.len() => {
            elements.remove(*index);
        }
        _ => {}
    }
}

fn find<'v>(value: &'v mut Value, path: &[Step]) -> Option<&'v mut Value> {
    path.iter().try_fold(value, |value, step| match step {
        Step::Name(name) => value.get_mut(name),
        Step::Index(index) => value.get_mut(index),
    })
}

/// Empties long strings that do not matter.
fn strings<E>(
    value: &mut Value,
    try_body: &mut dyn FnMut(Vec<u8>) -> Result<bool, Stop<E>>,
) -> Result<(), Stop<E>> {
    let mut all = Vec::new();
    (1..=DEPTH_MAX).for_each(|depth| paths(value, depth, &mut Vec::new(), &mut all));
    for path in all {
        let mut shorter = value.clone();
        match find(&mut shorter, &path) {
            Some(Value::String(text)) if text.len() > SHORT => text.clear(),
            _ => continue,
        }
        if try_body(shorter.to_string().into_bytes())? {
            *value = shorter;
        }
    }
    Ok(())
}
