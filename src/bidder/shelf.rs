//! Buffers that the calls of one worker use in turn.
//!
//! Owns: [`Shelf`], [`Shelves`] and [`Packet`]. Never: a byte of HTTP. Invariant: what is kept is
//! bounded in number and size.
//!
//! The buffer that was put back last is handed out first: it is still in the processor's cache.
//! For the same reason a call holds a buffer only while something of its own is in it: with a
//! hundred calls open, a hundred buffers would push each other out, and the kernel would copy
//! from and to memory that is far away.

use std::cell::RefCell;

/// Bytes in front of a packet's body where a request's head fits.
const HEADROOM: usize = 512;

/// Buffers of one kind.
#[derive(Debug)]
pub struct Shelf {
    kept: RefCell<Vec<Vec<u8>>>,
    limits: ShelfLimits,
}

/// What a shelf holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ShelfLimits {
    /// First size of a buffer (bytes).
    pub bytes: usize,
    /// A buffer that grew over this is not kept (bytes).
    pub bytes_max: usize,
    /// Buffers kept.
    pub kept_max: usize,
}

/// A worker's buffers.
#[derive(Debug)]
pub struct Shelves {
    /// For requests.
    pub messages: Shelf,
    /// For answers; initialised throughout, what they hold does not matter.
    pub reads: Shelf,
}

/// A body, with room for a head in front of it so that both go out as one piece.
#[derive(Clone, Debug)]
pub struct Packet(Vec<u8>);

// === impl Shelf ===

impl Shelf {
    fn new(limits: ShelfLimits) -> Self {
        Self { kept: RefCell::default(), limits }
    }

    /// Puts a buffer back for whoever needs the next.
    pub fn keep(&self, buffer: Vec<u8>) {
        let mut kept = self.kept.borrow_mut();
        let is_sound = (1..=self.limits.bytes_max).contains(&buffer.capacity());
        if is_sound && kept.len() < self.limits.kept_max {
            kept.push(buffer);
        }
    }

    /// A buffer with any content; a new one is filled with zeros.
    pub fn take(&self) -> Vec<u8> {
        let kept = self.kept.borrow_mut().pop();
        kept.unwrap_or_else(|| vec![0; self.limits.bytes])
    }
}

// === impl Shelves ===

impl Shelves {
    /// Empty ones.
    pub fn new(limits: ShelfLimits) -> Self {
        Self { messages: Shelf::new(limits), reads: Shelf::new(limits) }
    }

    /// A packet without a body.
    pub fn packet(&self) -> Packet {
        Packet::over(self.messages.take())
    }
}

// === impl Packet ===

impl Packet {
    /// With this body, in memory of its own.
    pub fn of(body: &[u8]) -> Self {
        let mut packet = Self::over(Vec::with_capacity(HEADROOM + body.len()));
        packet.body_mut().extend_from_slice(body);
        packet
    }

    fn over(mut buffer: Vec<u8>) -> Self {
        // mostly it only gets shorter
        buffer.resize(HEADROOM, 0);
        Self(buffer)
    }

    /// The body.
    pub fn body(&self) -> &[u8] {
        self.0.get(HEADROOM..).unwrap_or_default()
    }

    /// The body, to be appended to: what stands in the buffer already is none of the writer's
    /// business.
    pub fn body_mut(&mut self) -> &mut Vec<u8> {
        &mut self.0
    }

    /// The buffer, and where in it the message begins: the parts of the head, then the body.
    pub fn into_message(mut self, head: &[&[u8]]) -> (Vec<u8>, usize) {
        let length = head.iter().map(|part| part.len()).sum::<usize>();
        let Some(start) = HEADROOM.checked_sub(length) else {
            let mut message = Vec::with_capacity(length + self.body().len());
            for part in head.iter().chain(&[self.body()]) {
                message.extend_from_slice(part);
            }
            return (message, 0);
        };
        let mut at = start;
        for part in head {
            if let Some(place) = self.0.get_mut(at..at + part.len()) {
                place.copy_from_slice(part);
            }
            at += part.len();
        }
        (self.0, start)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_message_is_its_head_and_its_body_however_long_the_head_is() {
        let shelves = Shelves::new(ShelfLimits { bytes: 8, bytes_max: 4096, kept_max: 2 });
        for length in [0, 1, HEADROOM - 1, HEADROOM, HEADROOM + 1, 3 * HEADROOM] {
            let head = vec![b'h'; length];
            let mut packet = shelves.packet();
            packet.body_mut().extend_from_slice(b"body");
            assert_eq!(packet.body(), b"body");
            let (front, back) = head.split_at(length / 3);
            let (message, start) = packet.into_message(&[front, back]);
            assert_eq!(&message[start..], [&head[..], b"body"].concat(), "{length}");
            shelves.messages.keep(message);
        }
    }

    #[test]
    fn a_shelf_hands_out_the_last_one_and_keeps_few_and_small_ones() {
        let shelf = Shelf::new(ShelfLimits { bytes: 8, bytes_max: 64, kept_max: 2 });
        assert_eq!(shelf.take(), [0; 8]);
        for buffer in [vec![1; 16], vec![2; 65], Vec::new(), vec![3; 16], vec![4; 16]] {
            shelf.keep(buffer);
        }
        assert_eq!(
            [shelf.take(), shelf.take(), shelf.take()],
            [vec![3; 16], vec![1; 16], vec![0; 8]]
        );
    }
}
