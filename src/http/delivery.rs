//! Answers on their way to an HTTP/2 peer, which takes them when it likes.
//!
//! Owns: [`Untaken`], what one connection was given and has not taken; [`Content`], an answer's
//! body, which says when it is. Never: a decision whom to cut (that is `watch`), HTTP/1: an answer
//! goes into the socket at once there, and `wire` sees whether the peer takes it.
//! Invariant: an answer counts, with its bytes, until its last byte is with the codec or its stream
//! has gone, whether the peer, the sweep or a fault ended it.

use crate::http::reply::Reply;
use bytes::{Buf, Bytes};
use http::Response;
use http_body_util::Full;
use hyper::body::{Body, Frame, SizeHint};
use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::convert::Infallible;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};

/// An answer as a connection sends it.
pub type Sent = Response<Content>;

/// The body of an answer.
#[derive(Debug)]
pub struct Content {
    bytes: Full<Bytes>,
    delivery: Option<Delivery>,
}

/// The bytes of an answer. The codec holds them for as long as the peer's windows are shut, when
/// the body is long gone.
#[derive(Debug)]
pub struct Parcel {
    bytes: Bytes,
    delivery: Option<Delivery>,
}

/// Bytes of answers that wait on all connections of a worker.
pub type Waiting = Rc<Cell<usize>>;

/// Answers that one connection was given and has not taken.
#[derive(Debug, Default)]
pub struct Untaken {
    /// When each was given, the oldest first; `None`: taken before an older one.
    given: RefCell<VecDeque<Option<u32>>>,
    /// Number of the first of them.
    first: Cell<usize>,
    bytes: Cell<usize>,
    all: Waiting,
    /// Whether some of them were taken since this was last asked, and when that was.
    has_moved: Cell<bool>,
    moved: Cell<Option<u32>>,
}

/// One of them.
#[derive(Debug)]
struct Delivery {
    untaken: Rc<Untaken>,
    number: usize,
    bytes: usize,
}

/// An answer of which nobody asks when it is taken.
pub fn plain(reply: Reply) -> Sent {
    reply.map(|bytes| Content { bytes, delivery: None })
}

/// Bytes of an answer's body.
pub fn size(reply: &Reply) -> usize {
    let exact = reply.body().size_hint().exact().unwrap_or(0);
    usize::try_from(exact).unwrap_or(usize::MAX)
}

impl Untaken {
    /// None, of a worker that has these.
    pub fn new(all: &Waiting) -> Rc<Self> {
        Rc::new(Self { all: Rc::clone(all), ..Self::default() })
    }

    /// Notes an answer until it is taken; `now` is in the units that [`Self::since`] gives back.
    pub fn give(self: &Rc<Self>, reply: Reply, now: u32) -> Sent {
        let bytes = size(&reply);
        if bytes == 0 {
            return plain(reply);
        }
        let mut given = self.given.borrow_mut();
        let number = self.first.get().wrapping_add(given.len());
        given.push_back(Some(now));
        self.bytes.set(self.bytes.get().saturating_add(bytes));
        self.all.set(self.all.get().saturating_add(bytes));
        let delivery = Delivery { untaken: Rc::clone(self), number, bytes };
        reply.map(|bytes| Content { bytes, delivery: Some(delivery) })
    }

    /// Since when the oldest waits and nothing is taken.
    pub fn since(&self, now: u32) -> Option<u32> {
        if self.has_moved.take() {
            self.moved.set(Some(now));
        }
        let given = self.given.borrow().front().copied().flatten()?;
        let is_later = |moved: &u32| moved.wrapping_sub(given) < u32::MAX / 2;
        Some(self.moved.get().filter(is_later).unwrap_or(given))
    }

    /// Bytes that wait.
    pub fn bytes(&self) -> usize {
        self.bytes.get()
    }

    /// Counts none of the bytes any more: the connection is about to be cut.
    pub fn write_off(&self) {
        self.less(self.bytes.get());
    }

    fn less(&self, bytes: usize) {
        let bytes = bytes.min(self.bytes.get());
        self.bytes.set(self.bytes.get() - bytes);
        self.all.set(self.all.get().saturating_sub(bytes));
    }

    fn taken(&self, number: usize, bytes: usize) {
        self.less(bytes);
        let (mut given, first) = (self.given.borrow_mut(), self.first.get());
        if let Some(one) = given.get_mut(number.wrapping_sub(first)) {
            *one = None;
        }
        while let Some(None) = given.front() {
            given.pop_front();
            self.first.set(self.first.get().wrapping_add(1));
        }
    }
}

impl Drop for Delivery {
    fn drop(&mut self) {
        self.untaken.taken(self.number, self.bytes);
    }
}

impl Body for Content {
    type Data = Parcel;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Parcel>, Infallible>>> {
        let Self { bytes, delivery } = &mut *self;
        let mut sealed = |bytes| Parcel { bytes, delivery: delivery.take() };
        let next = Pin::new(bytes).poll_frame(cx);
        next.map_ok(|frame| frame.map_data(&mut sealed))
    }

    fn is_end_stream(&self) -> bool {
        self.bytes.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.bytes.size_hint()
    }
}

impl Buf for Parcel {
    fn remaining(&self) -> usize {
        self.bytes.remaining()
    }

    fn chunk(&self) -> &[u8] {
        self.bytes.chunk()
    }

    fn advance(&mut self, count: usize) {
        self.bytes.advance(count);
        if let Some(delivery) = &self.delivery {
            delivery.untaken.has_moved.set(true);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::task::Waker;

    fn answer(bytes: &'static [u8]) -> Reply {
        Response::new(Full::new(Bytes::from_static(bytes)))
    }

    fn parcel(sent: &mut Sent) -> Parcel {
        let next = Pin::new(sent.body_mut()).poll_frame(&mut Context::from_waker(Waker::noop()));
        let Poll::Ready(Some(Ok(frame))) = next else { panic!("there is one") };
        frame.into_data().unwrap()
    }

    #[test]
    fn who_takes_an_answer_slowly_takes_it() {
        let untaken = Untaken::new(&Waiting::default());
        let (mut slow, other) = (untaken.give(answer(b"123"), 10), untaken.give(answer(b"4"), 11));
        let mut bytes = parcel(&mut slow);
        assert_eq!(untaken.since(20), Some(10));
        bytes.advance(1);
        assert_eq!([untaken.since(30), untaken.since(40)], [Some(30), Some(30)]);
        // it holds for what waits beside it, and not for what comes later
        drop((bytes, slow));
        assert_eq!(untaken.since(40), Some(30));
        let _third = untaken.give(answer(b"5"), 60);
        drop(other);
        assert_eq!(untaken.since(70), Some(60));
    }

    #[test]
    fn an_answer_waits_until_its_bytes_are_gone_in_whatever_order() {
        let all = Waiting::default();
        let (one, other) = (Untaken::new(&all), Untaken::new(&all));
        let (mut first, second, third) =
            (one.give(answer(b"1"), 10), one.give(answer(b"22"), 20), one.give(answer(b"333"), 30));
        let elsewhere = other.give(answer(b"4444"), 15);
        assert_eq!((one.since(50), one.bytes(), all.get()), (Some(10), 6, 10));
        drop(second);
        assert_eq!((one.since(50), one.bytes()), (Some(10), 4));
        let bytes = parcel(&mut first);
        drop(first);
        assert_eq!((bytes.chunk(), one.since(50)), (&b"1"[..], Some(10)), "with the codec");
        drop(bytes);
        assert_eq!((one.since(50), one.bytes(), all.get()), (Some(30), 3, 7));
        let fourth = one.give(answer(b"1"), 40);
        drop(third);
        assert_eq!((one.since(50), other.since(50)), (Some(40), Some(15)));
        drop((fourth, elsewhere));
        assert_eq!((one.since(50), other.since(50), all.get()), (None, None, 0));
        assert!(one.give(answer(b""), 50).body().is_end_stream());
        assert_eq!(one.since(50), None, "there is nothing to take");
    }

    #[test]
    fn what_is_written_off_is_not_subtracted_twice() {
        let all = Waiting::default();
        let (one, other) = (Untaken::new(&all), Untaken::new(&all));
        let (before, kept) = (one.give(answer(b"333"), 1), other.give(answer(b"4444"), 1));
        one.write_off();
        assert_eq!((one.bytes(), all.get()), (0, 4));
        let late = one.give(answer(b"22"), 2);
        drop((before, late));
        assert_eq!((one.bytes(), all.get()), (0, 4));
        drop(kept);
        assert_eq!(all.get(), 0);
    }
}
