//! A connection, whatever is spoken on it.
//!
//! Owns: the choice between the protocols, and how a socket is opened. Never: a clock, a retry.
//! Invariant: a parcel that was given to a link comes back exactly once, with its end.

use super::connection::Connection;
use super::http2::Multiplexed;
use super::parcel::{Done, Parcel};
use super::plan::{DriveSettings, Protocol};
use super::report::Fault;
use crate::inspect::End;
use crate::wire::poller::{Nanos, Ready};
use socket2::{Domain, Socket, Type};
use std::io;
use std::net::{SocketAddr, TcpStream};

/// See the file's header.
pub(super) enum Link {
    One(Connection),
    Many(Box<Multiplexed>),
}

/// What a link works with while an event is handled.
pub(super) struct Io<'a> {
    pub scratch: &'a mut [u8],
    /// Of one answer.
    pub bytes_max: usize,
    /// Parcels that have come to their end.
    pub done: &'a mut Done,
}

/// Whether a connection can go on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    Going,
    /// It is of no more use; nothing is out on it.
    Spent,
}

impl Link {
    /// Starts to connect; the socket becomes writable when that is done.
    pub fn open(address: SocketAddr, settings: &DriveSettings) -> io::Result<Self> {
        let socket =
            Socket::new(Domain::for_address(address), Type::STREAM, Some(socket2::Protocol::TCP))?;
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        match socket.connect(&address.into()) {
            Ok(()) => {}
            Err(error) if error.raw_os_error() == Some(nix::libc::EINPROGRESS) => {}
            Err(error) => return Err(error),
        }
        let socket: TcpStream = socket.into();
        Ok(match settings.protocol {
            Protocol::Http1 => Self::One(Connection::new(socket)),
            Protocol::Http2 => Self::Many(Box::new(Multiplexed::new(socket, settings.streams_max))),
        })
    }

    pub fn socket(&self) -> &TcpStream {
        match self {
            Self::One(one) => &one.socket,
            Self::Many(many) => &many.socket,
        }
    }

    /// Whether it came to stand, once the socket is writable.
    pub fn check_open(&mut self, done: &mut Done) -> io::Result<Step> {
        self.socket().take_error()?.map_or(Ok(()), Err)?;
        Ok(match self {
            Self::One(_) => Step::Going,
            Self::Many(many) => many.flush(done),
        })
    }

    /// Whether it takes a further request.
    pub fn has_room(&self) -> bool {
        match self {
            Self::One(one) => one.parcel.is_none(),
            Self::Many(many) => many.has_room(),
        }
    }

    /// Requests that are out.
    pub fn busy(&self) -> usize {
        match self {
            Self::One(one) => usize::from(one.parcel.is_some()),
            Self::Many(many) => many.busy(),
        }
    }

    pub fn wants_write(&self) -> bool {
        match self {
            Self::One(one) => one.wants_write(),
            Self::Many(many) => many.wants_write(),
        }
    }

    /// Sends a request; only where there is room.
    pub fn send(&mut self, parcel: Box<Parcel>, done: &mut Done) -> Step {
        match self {
            Self::One(one) => one.send(parcel, done),
            Self::Many(many) => many.send(parcel, done),
        }
    }

    /// Does what the socket is ready for.
    pub fn handle(&mut self, event: Ready, io: &mut Io<'_>) -> Step {
        if event.is_writable {
            let step = match self {
                Self::One(one) => one.flush(io.done),
                Self::Many(many) => many.flush(io.done),
            };
            if step == Step::Spent {
                return step;
            }
        }
        match self {
            _ if !event.is_readable => Step::Going,
            Self::One(one) => one.receive(io),
            Self::Many(many) => many.receive(io),
        }
    }

    /// Ends requests that were sent before this moment.
    pub fn expire(&mut self, before: Nanos, done: &mut Done) -> Step {
        match self {
            Self::One(one) => {
                if one.parcel.as_ref().is_none_or(|parcel| parcel.sent_at >= before) {
                    return Step::Going;
                }
                done.extend(one.parcel.take().map(|parcel| parcel.fail(Fault::Timeout)));
                Step::Spent
            }
            Self::Many(many) => many.expire(before, done),
        }
    }

    /// Gives back what is out: the run is over.
    pub fn abandon(&mut self, done: &mut Done) {
        let from = done.len();
        match self {
            Self::One(one) => done.extend(one.parcel.take()),
            Self::Many(many) => many.abandon(done),
        }
        for parcel in done.iter_mut().skip(from) {
            parcel.end = End::Unfinished;
        }
    }
}
