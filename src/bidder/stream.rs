//! The byte stream under a bidder's connection: plain TCP, or TLS over it.
//!
//! Owns: [`Stream`]. Never: HTTP, a decision. Invariant: a bidder that is configured for TLS
//! never gets a plain stream (`dial` is the only maker).

use std::io::{self, IoSlice};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

/// A connected stream.
#[derive(Debug)]
pub enum Stream {
    Plain(TcpStream),
    Tls(Box<TlsStream<TcpStream>>),
}

impl Stream {
    /// Reads into `space`; 0 is the end.
    pub fn poll_read_some(
        &mut self,
        cx: &mut Context<'_>,
        space: &mut [u8],
    ) -> Poll<io::Result<usize>> {
        let mut into = ReadBuf::new(space);
        let polled = match self {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, &mut into),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, &mut into),
        };
        polled.map_ok(|()| into.filled().len())
    }

    /// Writes from the start of `bytes`, as much as goes at once.
    pub fn poll_write_some(
        &mut self,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        match self {
            Self::Plain(stream) => Pin::new(stream).poll_write(cx, bytes),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write(cx, bytes),
        }
    }

    /// Pushes out what TLS still holds; plain TCP holds nothing.
    pub fn poll_push(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self {
            Self::Plain(_) => Poll::Ready(Ok(())),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_flush(cx),
        }
    }

    /// Whether nothing has happened on an idle stream: it is neither closed nor has it bytes that
    /// nobody asked for. Costs no system call while the kernel has reported nothing.
    pub fn is_quiet(&mut self) -> bool {
        let mut byte = [0u8; 1];
        match self {
            // as cheap as a look at a flag: a poll would also take a lock to leave its waker
            Self::Plain(stream) => matches!(
                stream.try_read(&mut byte),
                Err(fault) if fault.kind() == io::ErrorKind::WouldBlock
            ),
            Self::Tls(stream) => {
                let mut context = Context::from_waker(Waker::noop());
                let mut into = ReadBuf::new(&mut byte);
                // TLS reads its own records here (session tickets), and stays pending behind them
                Pin::new(stream.as_mut()).poll_read(&mut context, &mut into).is_pending()
            }
        }
    }
}

// hyper's HTTP/2 wants the traits
impl AsyncRead for Stream {
    fn poll_read(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        into: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_read(cx, into),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_read(cx, into),
        }
    }
}

impl AsyncWrite for Stream {
    fn poll_write(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.get_mut().poll_write_some(cx, bytes)
    }

    fn poll_write_vectored(
        self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        parts: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_write_vectored(cx, parts),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_write_vectored(cx, parts),
        }
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.get_mut().poll_push(cx)
    }

    fn poll_shutdown(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match self.get_mut() {
            Self::Plain(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream.as_mut()).poll_shutdown(cx),
        }
    }
}
