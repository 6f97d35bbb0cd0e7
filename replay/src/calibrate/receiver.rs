//! The receiver of `calibrate`: it says when requests came.
//!
//! Owns: the process that receives ([`serve`]) and the parent's end of it ([`Receiver`]). Never: the
//! plan. Invariants: one thread that does nothing but receive, so that a time is taken as soon as
//! the kernel has the bytes; bounded in connections and arrivals; it ends when its standard input
//! does.

use super::DIGITS;
use crate::wire::ask::{self, Progress};
use crate::wire::poller::{self, Interest, Poller};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};

/// Arrivals of one run.
pub(super) const ARRIVALS_MAX: usize = 4_000_000;
/// Connections at once.
const CONNECTIONS_MAX: usize = 8_192;
/// Bytes of a request: head and body.
const REQUEST_BYTES_MAX: usize = 32 << 10;

const INPUT: u64 = 0;
const LISTENER: u64 = 1;
/// Connections have tokens from here on.
const FIRST: u64 = 2;

const ANSWER: &[u8] = b"HTTP/1.1 204 No Content\r\n\r\n";
/// What the parent asks.
const TAKE: &[u8] = b"t";

/// A request that came.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Arrival {
    /// That its body begins with.
    pub number: u64,
    /// Nanoseconds of `CLOCK_MONOTONIC`.
    pub at: u64,
}

/// The parent's end; the child ends when this is dropped.
pub(super) struct Receiver {
    child: Child,
    input: Option<ChildStdin>,
    output: BufReader<ChildStdout>,
    address: SocketAddr,
}

impl Receiver {
    /// Starts `program`, which must come to call [`serve`].
    pub fn start(mut program: Command, body: u32, sleeps: bool) -> io::Result<Self> {
        program.args(["calibrate", "--receive", "--body", &body.to_string()]);
        if sleeps {
            program.arg("--receiver-sleeps");
        }
        let mut child = program.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn()?;
        let (input, output) = (child.stdin.take(), child.stdout.take());
        let Some(output) = output else { return Err(io::Error::other("no pipe")) };
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let address = line.trim().parse().map_err(io::Error::other)?;
        Ok(Self { child, input, output, address })
    }

    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// What came since the last time.
    pub fn take(&mut self) -> io::Result<Vec<Arrival>> {
        let input = self.input.as_mut().ok_or(io::ErrorKind::BrokenPipe)?;
        input.write_all(TAKE)?;
        input.flush()?;
        let mut word = [0; 8];
        let mut number = || -> io::Result<u64> {
            self.output.read_exact(&mut word)?;
            Ok(u64::from_le_bytes(word))
        };
        let count = number()?;
        (0..count).map(|_| Ok(Arrival { number: number()?, at: number()? })).collect()
    }
}

impl Drop for Receiver {
    fn drop(&mut self) {
        drop(self.input.take());
        // it ends with its input
        let _ = self.child.wait();
    }
}

struct Line {
    socket: TcpStream,
    buffer: Vec<u8>,
    /// When the first bytes of the request at the front came.
    at: u64,
}

/// The child's part; `spins`: never sleeps.
pub(super) fn serve(spins: bool, body: u32) -> io::Result<()> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    listener.set_nonblocking(true)?;
    let (mut input, mut output) = (io::stdin().lock(), io::stdout().lock());
    writeln!(output, "{}", listener.local_addr()?)?;
    output.flush()?;
    let mut poller = Poller::new()?;
    poller.add(io::stdin(), INPUT, Interest::Read)?;
    poller.add(&listener, LISTENER, Interest::Read)?;
    let body = usize::try_from(body).unwrap_or(0);
    let mut lines: Vec<Option<Line>> = Vec::new();
    let mut arrivals: Vec<Arrival> = Vec::with_capacity(ARRIVALS_MAX / 16);
    let (mut ready, mut scratch) = (Vec::new(), vec![0; body + 4_096]);
    loop {
        poller.wait(if spins { 0 } else { u64::MAX >> 1 }, &mut ready)?;
        for event in &ready {
            match event.token {
                INPUT => {
                    let mut word = [0];
                    if input.read(&mut word)? == 0 {
                        return Ok(());
                    }
                    hand_over(&mut arrivals, &mut output)?;
                }
                LISTENER => accept(&listener, &poller, &mut lines)?,
                token => {
                    let index = usize::try_from(token - FIRST).unwrap_or(usize::MAX);
                    let Some(slot) = lines.get_mut(index) else { continue };
                    if !slot.as_mut().is_some_and(|line| line.receive(&mut scratch, &mut arrivals))
                    {
                        *slot = None;
                    }
                }
            }
        }
    }
}

fn hand_over(arrivals: &mut Vec<Arrival>, output: &mut impl Write) -> io::Result<()> {
    let mut bytes = Vec::with_capacity(8 + arrivals.len() * 16);
    bytes.extend_from_slice(&(arrivals.len() as u64).to_le_bytes());
    for arrival in arrivals.drain(..) {
        bytes.extend_from_slice(&arrival.number.to_le_bytes());
        bytes.extend_from_slice(&arrival.at.to_le_bytes());
    }
    output.write_all(&bytes)?;
    output.flush()
}

fn accept(
    listener: &TcpListener,
    poller: &Poller,
    lines: &mut Vec<Option<Line>>,
) -> io::Result<()> {
    while let Ok((socket, _)) = listener.accept() {
        let free = lines.iter().position(Option::is_none);
        let index = free.unwrap_or(lines.len());
        if index >= CONNECTIONS_MAX {
            continue;
        }
        socket.set_nonblocking(true)?;
        socket.set_nodelay(true)?;
        poller.add(&socket, FIRST + index as u64, Interest::Read)?;
        let line = Some(Line { socket, buffer: Vec::new(), at: 0 });
        match lines.get_mut(index) {
            Some(slot) => *slot = line,
            None => lines.push(line),
        }
    }
    Ok(())
}

impl Line {
    /// Takes what came and answers it; `false`: it is over.
    fn receive(&mut self, scratch: &mut [u8], arrivals: &mut Vec<Arrival>) -> bool {
        let count = match self.socket.read(scratch) {
            Ok(0) => return false,
            Ok(count) => count,
            Err(error) => return error.kind() == io::ErrorKind::WouldBlock,
        };
        if self.buffer.is_empty() {
            self.at = poller::now();
        }
        self.buffer.extend_from_slice(scratch.get(..count).unwrap_or_default());
        match ask::read(&self.buffer) {
            Progress::More(_) => self.buffer.len() < REQUEST_BYTES_MAX,
            Progress::Malformed => false,
            Progress::Complete(ask) => {
                let digits = ask.body.get(..DIGITS).and_then(|text| str::from_utf8(text).ok());
                let Some(number) = digits.and_then(|text| text.parse().ok()) else { return false };
                if arrivals.len() < ARRIVALS_MAX {
                    arrivals.push(Arrival { number, at: self.at });
                }
                // the generator has one request out on a connection
                self.buffer.clear();
                self.socket.write_all(ANSWER).is_ok()
            }
        }
    }
}
