//! The byte stream of an accepted connection, which notices whether the peer has begun to speak.
//!
//! A handshake is bounded in time; without this, whoever has one behind him could keep his place in the
//! register for an hour without a word.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use crate::control::Control;

/// Length of what a client says first (RFC 9113 §3.4); the head of an HTTP/1.1 request is no shorter.
const PREFACE_BYTES: usize = 24;

pub(crate) struct Listening<Io> {
    io: Io,
    /// Bytes of the preface that have not come.
    missing: usize,
    control: Arc<Control>,
}

impl<Io> Listening<Io> {
    /// Listens to `io`; tells `control` when the preface has come, be it right or wrong: h2 judges it.
    pub(crate) fn new(io: Io, control: &Arc<Control>) -> Self {
        Self { io, missing: PREFACE_BYTES, control: Arc::clone(control) }
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

impl<Io: AsyncWrite + Unpin> AsyncWrite for Listening<Io> {
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

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.io).poll_shutdown(cx)
    }
}
