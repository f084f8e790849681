//! The byte stream of an accepted connection, which notices whether the peer has begun to speak, and hears it out when we
//! close.
//!
//! A handshake is bounded in time; without the first, whoever has one behind him could keep his place in the
//! register for an hour without a word.
//!
//! The second: closing a socket with unread bytes in it resets the connection, and the other side may then never read our
//! last words, by which it knows what it may send again (GOAWAY, RFC 9113 §6.8).

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::{Sleep, sleep};

use crate::control::Control;
use crate::limits::FAREWELL_TIMEOUT_MS;

/// Bytes of a leaving peer that are read, and thrown away, at once.
const FAREWELL_READ_BYTES: usize = 4 * 1024;

/// Length of what a client says first (RFC 9113 §3.4); the head of an HTTP/1.1 request is no shorter.
const PREFACE_BYTES: usize = 24;

pub(crate) struct Listening<Io> {
    io: Io,
    /// Bytes of the preface that have not come.
    missing: usize,
    control: Arc<Control>,
    /// Our last word is said; until then the other side may hear it.
    farewell: Option<Pin<Box<Sleep>>>,
}

impl<Io> Listening<Io> {
    /// Listens to `io`; tells `control` when the preface has come, be it right or wrong: h2 judges it.
    pub(crate) fn new(io: Io, control: &Arc<Control>) -> Self {
        Self { io, missing: PREFACE_BYTES, control: Arc::clone(control), farewell: None }
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Listening<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.io).poll_read(cx, buf))?;
        if self.missing > 0 {
            self.missing = self.missing.saturating_sub(buf.filled().len() - before);
            if self.missing == 0 {
                self.control.note_preface();
            }
        }
        Poll::Ready(Ok(()))
    }
}

impl<Io: AsyncRead + AsyncWrite + Unpin> AsyncWrite for Listening<Io> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write(cx, bytes)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.io).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.io.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_flush(cx)
    }

    /// Says that nothing more comes, and waits until the other side says the same.
    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        if this.farewell.is_none() {
            ready!(Pin::new(&mut this.io).poll_shutdown(cx))?;
        }
        let patience = || Box::pin(sleep(Duration::from_millis(FAREWELL_TIMEOUT_MS)));
        let farewell = this.farewell.get_or_insert_with(patience);
        let mut bytes = [0; FAREWELL_READ_BYTES];
        loop {
            if farewell.as_mut().poll(cx).is_ready() {
                return Poll::Ready(Ok(()));
            }
            let mut unread = ReadBuf::new(&mut bytes);
            // However it ends, we have said all.
            match ready!(Pin::new(&mut this.io).poll_read(cx, &mut unread)) {
                Ok(()) if !unread.filled().is_empty() => {}
                Ok(()) | Err(_) => return Poll::Ready(Ok(())),
            }
        }
    }
}
