//! A name and its value that stand beside each other: `{"name": "gaid", "value": "..."}`.
//!
//! Owns: which members are such a name and such a value. Never: which names are personal. Invariant:
//! the members of an object are looked through once, and of most objects not at all.
#![deny(clippy::indexing_slicing)]

use crate::capture::names::{Treat, by_path};
use crate::json::tour::{Stop, Tour};

/// The members of one object.
pub(super) struct Pairs<'d> {
    /// Where they begin.
    start: Tour<'d>,
    members: usize,
    /// What the name in it says, once that was asked.
    said: Option<Said>,
}

/// What a name says that stands as a value.
#[derive(Clone, Copy, Default)]
struct Said {
    /// Of `value`.
    of_value: Option<Treat>,
    /// Of `id`, which is another thing's where the other is no type.
    of_id: Option<Treat>,
}

impl<'d> Pairs<'d> {
    pub(super) const fn new(start: Tour<'d>, members: usize) -> Self {
        Self { start, members, said: None }
    }

    /// What is said of the member at this path by one beside it.
    #[inline]
    pub(super) fn says(&mut self, path: &mut Vec<&'d str>) -> Option<Treat> {
        match *path.last()? {
            "value" | "values" | "val" | "v" => self.said(path).of_value,
            "id" => self.said(path).of_id,
            _ => None,
        }
    }

    fn said(&mut self, path: &mut Vec<&'d str>) -> Said {
        let said = self.said.unwrap_or_else(|| self.search(path));
        self.said = Some(said);
        said
    }

    /// The path is as it was behind this.
    fn search(&self, path: &mut Vec<&'d str>) -> Said {
        let (mut tour, mut said) = (self.start, Said::default());
        let own = path.pop();
        for _ in 0..self.members {
            let Some((name, _)) = tour.name() else { break };
            let mut value = tour;
            tour.skip();
            if !matches!(name, "name" | "key" | "type" | "k" | "n") {
                continue;
            }
            let Some(Stop::Scalar(scalar)) = value.stop() else { continue };
            let Some(text) = scalar.text() else { continue };
            path.push(text);
            let treat = by_path(path);
            path.pop();
            said.of_value = said.of_value.or(treat);
            said.of_id = said.of_id.or(treat.filter(|_| name == "type"));
        }
        path.extend(own);
        said
    }
}
