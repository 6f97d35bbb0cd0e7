//! The buffers of a reader, and the document that is read into them.
//!
//! Owns: [`Scratch`], one a worker, and [`Document`]. Never: a rule.
//!
//! simd-json works in two passes: one finds the *structurals* (each of `{}[]:,`, the opening
//! quote of each string and the first byte of each other scalar), one writes the tape. The tape
//! has one node for each structural but `}`, `]`, `:` and `,`, in the same order; so a third,
//! branch-free pass that counts the others off gives each node its structural, and through it
//! its offset. Where a value ends follows from the structural behind it.
//!
//! Invariant: strings are un-escaped in place in `text`, never longer than they were, so every
//! string starts in `text` where it starts in `body`, and outside strings the two are equal.

use crate::json::Fault;
use crate::json::value::Value;
use simd_json::{Buffers, ErrorType, INPUT_PADDING, Node, Tape};

/// A scratch that grew beyond this many nodes (24 bytes each) for one document gives the memory
/// back before the next: one hostile body does not stay with us.
const KEPT_NODES_MAX: usize = 1 << 16;

/// Reused by every read of a worker: nothing is allocated once it has grown.
pub struct Scratch {
    buffers: Buffers,
    tape: Tape<'static>,
    /// For each node of the tape, the position of its structural.
    nodes: Vec<u32>,
    depth_max: usize,
}

impl std::fmt::Debug for Scratch {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scratch").field("depth_max", &self.depth_max).finish_non_exhaustive()
    }
}

impl Scratch {
    /// Reads documents of at most `depth_max` nested objects and arrays.
    pub fn new(depth_max: usize) -> Self {
        Self {
            buffers: Buffers::with_max_depth(0, depth_max),
            tape: Tape(Vec::new()),
            nodes: Vec::new(),
            depth_max,
        }
    }

    /// Reads `body`. What was in `text` is replaced by a copy of `body` with each string
    /// un-escaped in place, followed by padding that the caller may cut off afterwards.
    pub fn read<'a>(
        &'a mut self,
        body: &'a [u8],
        text: &'a mut Vec<u8>,
    ) -> Result<Document<'a>, Fault> {
        if self.nodes.capacity().max(self.tape.0.capacity()) > KEPT_NODES_MAX {
            *self = Self::new(self.depth_max);
        }
        text.clear();
        text.reserve(body.len().saturating_add(INPUT_PADDING));
        text.extend_from_slice(body);
        text.resize(body.len().saturating_add(INPUT_PADDING), b' ');

        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        if let Err(error) =
            simd_json::fill_tape_padded(text, body.len(), &mut self.buffers, &mut tape)
        {
            self.tape = tape.reset();
            return Err(match error.error() {
                ErrorType::DepthLimitExceeded => Fault::TooDeep,
                _ => Fault::NotJson,
            });
        }
        let structurals = self.buffers.structural_indexes();
        let found = locate(body, structurals, &mut self.nodes);
        if found != tape.0.len() {
            // The two passes of simd-json disagree: a fault of the library, never of the bytes.
            self.tape = tape.reset();
            return Err(Fault::NotJson);
        }
        Ok(Document { body, structurals, nodes: &self.nodes, tape, home: &mut self.tape })
    }
}

/// 1 for each byte that a structural with a node begins with. A look-up takes the whole pass half
/// the time that comparing with each of the four others does.
#[expect(
    clippy::indexing_slicing,
    reason = "runs when this is compiled, over bytes of a table of 256"
)]
static HAS_NODE: [u8; 256] = {
    let mut has_node = [1; 256];
    has_node[b'}' as usize] = 0;
    has_node[b']' as usize] = 0;
    has_node[b':' as usize] = 0;
    has_node[b',' as usize] = 0;
    has_node
};

/// Writes, for each structural that has a node, its position; gives the number of nodes.
// On its own it has all registers: inlined behind the tape it lives on the stack, at twice the time.
#[inline(never)]
fn locate(body: &[u8], structurals: &[u32], nodes: &mut Vec<u32>) -> usize {
    // One more than there are structurals, so that the unconditional write below always fits.
    if nodes.len() <= structurals.len() {
        nodes.resize(structurals.len().saturating_add(1), 0);
    }
    let nodes = nodes.as_mut_slice();
    let mut found = 0_usize;
    let mut position = 0_u32;
    for at in structurals {
        let byte = body.get(*at as usize).copied().unwrap_or(b',');
        if let Some(slot) = nodes.get_mut(found) {
            *slot = position;
        }
        // No jump: which byte comes next cannot be predicted.
        let has_node = HAS_NODE.get(usize::from(byte)).copied().unwrap_or_default();
        found = found.wrapping_add(usize::from(has_node));
        position = position.wrapping_add(1);
    }
    found
}

/// A document that was read. It gives the tape back to its scratch when it goes.
#[derive(Debug)]
pub struct Document<'a> {
    body: &'a [u8],
    structurals: &'a [u32],
    nodes: &'a [u32],
    tape: Tape<'a>,
    home: &'a mut Tape<'static>,
}

impl Drop for Document<'_> {
    fn drop(&mut self) {
        *self.home = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
    }
}

impl Document<'_> {
    /// The one value of the document.
    pub fn root(&self) -> Value<'_> {
        Value::root(self, self.structurals.len())
    }

    /// The bytes as they came.
    pub(super) fn body(&self) -> &[u8] {
        self.body
    }

    /// A node of the tape.
    #[inline]
    pub(super) fn node(&self, node: usize) -> Option<&Node<'_>> {
        self.tape.0.get(node)
    }

    /// Position of a node's structural.
    #[inline]
    pub(super) fn position(&self, node: usize) -> usize {
        self.nodes.get(node).map_or(self.structurals.len(), |position| *position as usize)
    }

    /// Offset of a structural; the end of the body behind the last.
    #[inline]
    pub(super) fn offset(&self, position: usize) -> usize {
        self.structurals.get(position).map_or(self.body.len(), |at| *at as usize)
    }
}
