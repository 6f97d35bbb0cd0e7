//! Reads a request's body, within its bytes and its time.
//!
//! Owns: [`read`], [`decoded`], [`drain`]. Never: what the bytes mean.
//! Invariant: no more than the limit is ever held; a body that came as one piece is not copied.
#![deny(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use crate::arrival::Body;
use crate::coding::{self, Caps, Coding};
use crate::negatives::refusal::Refusal;
use bytes::{Bytes, BytesMut};
use std::borrow::Cow;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::task::Poll;
use std::time::Duration;
use tokio::time::timeout;

/// How much of a body, and how long.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    pub bytes_max: usize,
    /// From now on.
    pub time: Duration,
}

/// The bytes on the wire. `declared` is the `Content-Length`, already within the limit.
pub async fn read<B>(body: B, declared: Option<usize>, bounds: Bounds) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let mut reading = pin!(gather(body, declared, bounds.bytes_max));
    // A body that is already there, as most are, costs no timer.
    if let Poll::Ready(read) = poll_fn(|cx| Poll::Ready(reading.as_mut().poll(cx))).await {
        return read;
    }
    timeout(bounds.time, reading).await.unwrap_or(Err(Refusal::BodyTooSlow))
}

async fn gather<B>(mut body: B, declared: Option<usize>, bytes_max: usize) -> Result<Bytes, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    let Some(first) = next(&mut body).await? else { return Ok(Bytes::new()) };
    if first.len() > bytes_max {
        return Err(Refusal::BodyTooLarge);
    }
    if body.is_end_stream() {
        return Ok(first);
    }
    let room = declared.unwrap_or_else(|| first.len().saturating_mul(2)).min(bytes_max);
    let mut all = BytesMut::with_capacity(room.max(first.len()));
    all.extend_from_slice(&first);
    while let Some(more) = next(&mut body).await? {
        if all.len().saturating_add(more.len()) > bytes_max {
            return Err(Refusal::BodyTooLarge);
        }
        all.extend_from_slice(&more);
    }
    Ok(all.freeze())
}

/// The next piece; trailers are passed over.
async fn next<B>(body: &mut B) -> Result<Option<Bytes>, Refusal>
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    loop {
        match poll_fn(|cx| Pin::new(&mut *body).poll_frame(cx)).await {
            None => return Ok(None),
            Some(Err(_)) => return Err(Refusal::BodyBroken),
            Some(Ok(frame)) => {
                if let Ok(data) = frame.into_data() {
                    return Ok(Some(data));
                }
            }
        }
    }
}

/// The body as the road reads it.
pub fn decoded(coding: Coding, wire: Bytes, caps: &Caps) -> Result<Body, Refusal> {
    if coding == Coding::Identity {
        let fits = wire.len() <= caps.body_bytes_max;
        return if fits { Ok(Body(wire)) } else { Err(Refusal::BodyTooLarge) };
    }
    match coding::decode(coding, &wire, caps).map_err(super::super::coding::CodingError::refusal)? {
        Cow::Owned(bytes) => Ok(Body(bytes.into())),
        Cow::Borrowed(_) => Ok(Body(wire)),
    }
}

/// Reads a body that nobody wants, so that its connection can go on. Whether it came to its end.
pub async fn drain<B>(mut body: B, bounds: Bounds) -> bool
where
    B: hyper::body::Body<Data = Bytes> + Unpin,
{
    if body.is_end_stream() {
        return true;
    }
    let mut left = bounds.bytes_max;
    let drained = timeout(bounds.time, async {
        while let Ok(Some(piece)) = next(&mut body).await {
            let Some(rest) = left.checked_sub(piece.len()) else { return false };
            left = rest;
            if body.is_end_stream() {
                return true;
            }
        }
        body.is_end_stream()
    });
    drained.await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;
    use http_body_util::Full;
    use hyper::body::Frame;
    use std::collections::VecDeque;
    use std::convert::Infallible;
    use std::task::Context;

    /// A body in pieces; `stalls` leaves it without an end.
    struct Pieces {
        left: VecDeque<Bytes>,
        stalls: bool,
    }

    impl hyper::body::Body for Pieces {
        type Data = Bytes;
        type Error = Infallible;

        fn poll_frame(
            mut self: Pin<&mut Self>,
            _: &mut Context<'_>,
        ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
            match self.left.pop_front() {
                Some(piece) => Poll::Ready(Some(Ok(Frame::data(piece)))),
                None if self.stalls => Poll::Pending,
                None => Poll::Ready(None),
            }
        }
    }

    fn pieces(lengths: &[usize], stalls: bool) -> Pieces {
        let left = lengths.iter().map(|length| Bytes::from(vec![b'x'; *length])).collect();
        Pieces { left, stalls }
    }

    const BOUNDS: Bounds = Bounds { bytes_max: 100, time: Duration::from_millis(250) };

    #[tokio::test(start_paused = true)]
    async fn a_body_is_read_up_to_its_limit_and_within_its_time() {
        for (lengths, stalls, expected) in [
            (&[][..], false, Ok(0)),
            (&[100], false, Ok(100)),
            (&[101], false, Err(Refusal::BodyTooLarge)),
            (&[60, 40], false, Ok(100)),
            (&[60, 41], false, Err(Refusal::BodyTooLarge)),
            (&[60], true, Err(Refusal::BodyTooSlow)),
            (&[60, 41], true, Err(Refusal::BodyTooLarge)),
        ] {
            for declared in [None, Some(lengths.iter().sum())] {
                let got = read(pieces(lengths, stalls), declared, BOUNDS).await;
                assert_eq!(got.map(|bytes| bytes.len()), expected, "{lengths:?} {stalls}");
            }
        }
    }

    #[tokio::test]
    async fn a_body_of_one_piece_is_not_copied() {
        let sent = Bytes::from_static(b"{}");
        let got = read(Full::new(sent.clone()), Some(2), BOUNDS).await.unwrap();
        assert_eq!(got.as_ptr(), sent.as_ptr());
    }

    #[tokio::test(start_paused = true)]
    async fn draining_tells_whether_the_end_came() {
        for (lengths, stalls, expected) in
            [(&[][..], true, false), (&[101], false, false), (&[60], true, false)]
        {
            assert_eq!(drain(pieces(lengths, stalls), BOUNDS).await, expected, "{lengths:?}");
        }
        assert!(drain(Full::new(Bytes::from_static(b"{}")), BOUNDS).await);
        assert!(drain(Full::new(Bytes::new()), BOUNDS).await);
    }

    #[test]
    fn coded_bodies_are_decoded_and_plain_ones_passed_on() {
        let caps = Caps::default();
        let plain = Bytes::from_static(b"{}");
        let got = decoded(Coding::Identity, plain.clone(), &caps).unwrap();
        assert_eq!(got.0.as_ptr(), plain.as_ptr());
        assert_eq!(decoded(Coding::Gzip, plain.clone(), &caps), Err(Refusal::EncodingBroken));
        let small = Caps { body_bytes_max: 1, ..caps };
        assert_eq!(decoded(Coding::Identity, plain, &small), Err(Refusal::BodyTooLarge));
    }
}
