//! What is printed while a command works.
//!
//! Owns: a stream whose reader may go. Never: what is printed. Invariant: whether anybody still reads
//! decides nothing: the verdict of a run that is piped to `head` is that of the run.

use std::io::{self, ErrorKind, Write};

/// See the file's header.
#[derive(Debug)]
pub struct Printed<W> {
    to: W,
    is_closed: bool,
}

impl<W: Write> Printed<W> {
    pub fn new(to: W) -> Self {
        Self { to, is_closed: false }
    }

    /// From the first fault of this kind on everything is left out.
    fn unless_closed<T>(
        &mut self,
        otherwise: T,
        write: impl FnOnce(&mut W) -> io::Result<T>,
    ) -> io::Result<T> {
        if self.is_closed {
            return Ok(otherwise);
        }
        match write(&mut self.to) {
            Err(fault) if fault.kind() == ErrorKind::BrokenPipe => {
                self.is_closed = true;
                Ok(otherwise)
            }
            done => done,
        }
    }
}

impl<W: Write> Write for Printed<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.unless_closed(bytes.len(), |to| to.write(bytes))
    }

    fn flush(&mut self) -> io::Result<()> {
        self.unless_closed((), Write::flush)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    struct Gone(ErrorKind);

    impl Write for Gone {
        fn write(&mut self, _: &[u8]) -> io::Result<usize> {
            Err(self.0.into())
        }

        fn flush(&mut self) -> io::Result<()> {
            Err(self.0.into())
        }
    }

    #[test]
    fn a_reader_that_is_gone_is_no_fault_and_a_full_disk_is() {
        for (kind, is_fine) in [(ErrorKind::BrokenPipe, true), (ErrorKind::StorageFull, false)] {
            let mut out = Printed::new(Gone(kind));
            assert_eq!(writeln!(out, "a line").is_ok(), is_fine);
            assert_eq!(out.flush().is_ok(), is_fine);
        }
    }
}
