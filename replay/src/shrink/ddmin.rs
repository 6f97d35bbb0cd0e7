//! ddmin.
//!
//! Owns: the reduction of a list. Pure. Invariant: `kept` is always a list that was seen to fail (or
//! the first one), so that whatever ends the reduction leaves something that is of use.

use super::Stop;

/// Whether a list fails.
pub type Fails<'f, T, E> = dyn FnMut(&[T]) -> Result<bool, Stop<E>> + 'f;

/// Reduces `kept`, which fails, to a list of which no element can be left out; never below `least`
/// elements.
pub fn ddmin<T: Clone, E>(
    kept: &mut Vec<T>,
    least: usize,
    fails: &mut Fails<'_, T, E>,
) -> Result<(), Stop<E>> {
    if least == 0 && !kept.is_empty() && fails(&[])? {
        kept.clear();
        return Ok(());
    }
    let mut parts = 2;
    while kept.len() > least.max(1) {
        let size = kept.len().div_ceil(parts);
        let smaller = match one_part(kept, size, fails)? {
            Some(part) => Some((part, 2)),
            None => without_one(kept, size, fails)?.map(|rest| (rest, (parts - 1).max(2))),
        };
        match smaller {
            Some((list, next)) => (*kept, parts) = (list, next),
            None if size == 1 => break,
            None => parts = (parts * 2).min(kept.len()),
        }
    }
    Ok(())
}

/// A part that fails alone.
fn one_part<T: Clone, E>(
    list: &[T],
    size: usize,
    fails: &mut Fails<'_, T, E>,
) -> Result<Option<Vec<T>>, Stop<E>> {
    for part in list.chunks(size) {
        if part.len() < list.len() && fails(part)? {
            return Ok(Some(part.to_vec()));
        }
    }
    Ok(None)
}

/// What is left and fails when one part is taken out.
fn without_one<T: Clone, E>(
    list: &[T],
    size: usize,
    fails: &mut Fails<'_, T, E>,
) -> Result<Option<Vec<T>>, Stop<E>> {
    // of two parts, the rest of one is the other
    if list.len() <= size * 2 && size > 1 {
        return Ok(None);
    }
    for from in (0..list.len()).step_by(size) {
        let (before, behind) = (list.get(..from), list.get((from + size).min(list.len())..));
        let rest = [before.unwrap_or_default(), behind.unwrap_or_default()].concat();
        if !rest.is_empty() && fails(&rest)? {
            return Ok(Some(rest));
        }
    }
    Ok(None)
}
