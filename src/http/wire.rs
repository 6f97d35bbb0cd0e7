//! One TCP stream as hyper sees it, with its [`Watch`] told what happens.
//!
//! Owns: the choice between HTTP/1 and HTTP/2 by the first bytes, and the check for bare LF line
//! ends in heads. Never: a time (the watch's sweep ends what is due), a limit on bytes.
//! Invariant: hyper gets exactly the bytes that came.

use crate::http::watch::Watch;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use std::cell::RefCell;
use std::io::{self, IoSlice};
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, ReadBuf};
use tokio::net::TcpStream;

/// What an HTTP/2 connection begins with (RFC 9113, 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

/// The first bytes of a stream, kept for hyper.
#[derive(Debug, Default)]
struct Opening {
    bytes: [u8; PREFACE.len()],
    from: usize,
    to: usize,
}

impl Opening {
    fn left(&self) -> &[u8] {
        self.bytes.get(self.from..self.to).unwrap_or_default()
    }
}

/// The stream and its watch.
#[derive(Debug)]
pub struct Wire {
    io: TokioIo<TcpStream>,
    watch: Rc<Watch>,
    opening: Opening,
    is_h2: bool,
    scratch: Rc<Scratch>,
}

/// Where a worker's connections read to before hyper does.
pub type Scratch = RefCell<Box<[u8]>>;

impl Wire {
    /// Takes over a new connection.
    pub fn new(stream: TcpStream, watch: Rc<Watch>, scratch: Rc<Scratch>) -> Self {
        let opening = Opening::default();
        Self { io: TokioIo::new(stream), watch, opening, is_h2: false, scratch }
    }

    /// Whether the stream begins as HTTP/2 does; waits for the first bytes that tell.
    pub async fn is_h2(&mut self) -> io::Result<bool> {
        let opening = &mut self.opening;
        loop {
            let (read, want) = (&opening.bytes[..opening.to], &PREFACE[..opening.to]);
            if read != want {
                self.watch.lines.feed(read);
                return Ok(false);
            }
            if opening.to == PREFACE.len() {
                self.is_h2 = true;
                return Ok(true);
            }
            let room = &mut opening.bytes[opening.to..];
            match self.io.inner_mut().read(room).await? {
                0 => return Ok(false),
                count => opening.to += count,
            }
        }
    }

    /// The bare stream, once hyper is done with it.
    pub fn into_stream(self) -> TcpStream {
        self.io.into_inner()
    }
}

impl Read for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        mut buf: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let kept = self.opening.left();
        if !kept.is_empty() {
            let count = kept.len().min(buf.remaining());
            buf.put_slice(&kept[..count]);
            self.opening.from += count;
            return Poll::Ready(Ok(()));
        }
        if self.is_h2 {
            return Pin::new(&mut self.io).poll_read(cx, buf);
        }
        // hyper's cursor does not show what was read into it: the bytes come over the worker's
        // scratch (about 50 ns for 2 KiB).
        let this = &mut *self;
        let mut scratch = this.scratch.borrow_mut();
        let room = buf.remaining().min(scratch.len());
        let mut read = ReadBuf::new(&mut scratch[..room]);
        ready!(Pin::new(this.io.inner_mut()).poll_read(cx, &mut read))?;
        this.watch.has_read(read.filled());
        buf.put_slice(read.filled());
        Poll::Ready(Ok(()))
    }
}

impl Wire {
    /// Notes whether the peer takes what is sent.
    fn wrote<T>(&self, result: Poll<T>) -> Poll<T> {
        if result.is_pending() {
            self.watch.write_blocked();
        }
        result
    }
}

impl Write for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write(cx, buf);
        self.wrote(result)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper and h2 come here once their own buffer is empty.
        self.watch.write_done();
        Pin::new(&mut self.io).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let result = Pin::new(&mut self.io).poll_write_vectored(cx, bufs);
        self.wrote(result)
    }
}
