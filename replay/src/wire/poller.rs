//! Waiting for sockets and for a moment at once.
//!
//! Owns: one epoll instance and one timer on `CLOCK_MONOTONIC` armed with absolute times. Tokio's
//! timers tick at a millisecond; this one wakes within microseconds, and unlike a relative sleep
//! it does not drift. Never: a socket (the caller closes them; closing removes them here).

use nix::errno::Errno;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::time::TimeSpec;
use nix::sys::timerfd::{ClockId, Expiration, TimerFd, TimerFlags, TimerSetTimeFlags};
use std::io;
use std::os::fd::AsFd;
use std::time::Duration;

/// The token of the poller's own timer; callers use smaller ones.
const TIMER_TOKEN: u64 = u64::MAX;

/// Events taken from the kernel at a time: small, so that a late plan is noticed between batches.
const BATCH: usize = 64;

/// Nanoseconds of `CLOCK_MONOTONIC`: a moment.
pub type Nanos = u64;

/// The present moment.
pub fn now() -> Nanos {
    nix::time::clock_gettime(nix::time::ClockId::CLOCK_MONOTONIC)
        .map_or(0, |time| nanos(Duration::from(time)))
}

/// A duration as nanoseconds; 584 years where it is longer.
pub fn nanos(duration: Duration) -> Nanos {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

/// What a socket is watched for. A closed peer always counts as readable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Interest {
    Read,
    Write,
    /// Accepting in several threads: one of them is woken.
    Accept,
}

/// A socket on which something can be done.
#[derive(Clone, Copy, Debug)]
pub struct Ready {
    pub token: u64,
    pub is_readable: bool,
    pub is_writable: bool,
}

/// See the file's header.
pub struct Poller {
    epoll: Epoll,
    timer: TimerFd,
    armed: Option<Nanos>,
    events: [EpollEvent; BATCH],
}

impl Poller {
    /// A poller that watches nothing yet.
    pub fn new() -> io::Result<Self> {
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        let flags = TimerFlags::TFD_CLOEXEC | TimerFlags::TFD_NONBLOCK;
        let timer = TimerFd::new(ClockId::CLOCK_MONOTONIC, flags)?;
        // edge-triggered: arming it again makes the next edge, so it need never be read
        let interest = EpollFlags::EPOLLIN | EpollFlags::EPOLLET;
        epoll.add(&timer, EpollEvent::new(interest, TIMER_TOKEN))?;
        Ok(Self { epoll, timer, armed: None, events: [EpollEvent::empty(); BATCH] })
    }

    /// Watches a socket.
    pub fn add(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.add(socket, EpollEvent::new(interest.flags(), token))?)
    }

    /// Watches it for something else.
    pub fn change(&self, socket: impl AsFd, token: u64, interest: Interest) -> io::Result<()> {
        Ok(self.epoll.modify(socket, &mut EpollEvent::new(interest.flags(), token))?)
    }

    /// Waits until a socket is ready or the moment has come, and puts what is ready into `ready`.
    pub fn wait(&mut self, until: Nanos, ready: &mut Vec<Ready>) -> io::Result<()> {
        ready.clear();
        let timeout = if until <= now() {
            EpollTimeout::ZERO
        } else {
            self.arm(until)?;
            EpollTimeout::NONE
        };
        let count = match self.epoll.wait(&mut self.events, timeout) {
            Ok(count) => count,
            Err(Errno::EINTR) => 0,
            Err(error) => return Err(error.into()),
        };
        for event in self.events.iter().take(count) {
            if event.data() == TIMER_TOKEN {
                self.armed = None;
                continue;
            }
            let flags = event.events();
            let is_over = flags.intersects(EpollFlags::EPOLLERR | EpollFlags::EPOLLHUP);
            ready.push(Ready {
                token: event.data(),
                is_readable: is_over
                    || flags.intersects(EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP),
                is_writable: is_over || flags.contains(EpollFlags::EPOLLOUT),
            });
        }
        Ok(())
    }

    fn arm(&mut self, until: Nanos) -> io::Result<()> {
        if self.armed != Some(until) {
            let at = TimeSpec::from_duration(Duration::from_nanos(until));
            self.timer.set(Expiration::OneShot(at), TimerSetTimeFlags::TFD_TIMER_ABSTIME)?;
            self.armed = Some(until);
        }
        Ok(())
    }
}

impl Interest {
    fn flags(self) -> EpollFlags {
        match self {
            Self::Read => EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::Write => EpollFlags::EPOLLOUT | EpollFlags::EPOLLIN | EpollFlags::EPOLLRDHUP,
            Self::Accept => EpollFlags::EPOLLIN | EpollFlags::EPOLLEXCLUSIVE,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use std::net::{TcpListener, TcpStream};

    #[test]
    fn wakes_for_the_moment_and_never_before_it() {
        let mut poller = Poller::new().unwrap();
        let mut ready = Vec::new();
        for step in [0, 200_000, 2_000_000, 50_000] {
            let until = now() + step;
            while now() < until {
                poller.wait(until, &mut ready).unwrap();
                assert!(ready.is_empty());
            }
        }
    }

    #[test]
    fn wakes_for_a_socket_long_before_the_moment() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut near = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let (far, _) = listener.accept().unwrap();
        let mut poller = Poller::new().unwrap();
        poller.add(&far, 9, Interest::Read).unwrap();
        near.write_all(b"x").unwrap();
        let mut ready = Vec::new();
        poller.wait(now() + 3_600_000_000_000, &mut ready).unwrap();
        assert_eq!(ready.len(), 1);
        assert_eq!((ready[0].token, ready[0].is_readable), (9, true));
    }
}
