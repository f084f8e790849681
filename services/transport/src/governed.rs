//! The byte stream of an outgoing connection, which its switch can cut.
//!
//! hyper drives an outgoing connection in a task of its own that we cannot reach; so the switch sits in the
//! stream. A cut makes the next read fail, and with it every stream of the connection, at once. The place in
//! the register is kept here too: the stream lives exactly as long as the connection.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::oneshot;

use crate::connections::Registration;
use crate::control::Phase;

pub(crate) struct Governed<Io> {
    io: Io,
    registration: Registration,
    first_read: Option<oneshot::Sender<io::Result<()>>>,
}

impl<Io> Governed<Io> {
    /// Governs `io`. The receiver hears how the first read ended: in TLS 1.3 a client whose certificate is
    /// refused learns it only there (RFC 8446 §2), after its own handshake has ended well.
    pub(crate) fn new(io: Io, registration: Registration) -> (Self, oneshot::Receiver<io::Result<()>>) {
        let (sender, receiver) = oneshot::channel();
        (Self { io, registration, first_read: Some(sender) }, receiver)
    }
}

impl<Io: AsyncRead + Unpin> AsyncRead for Governed<Io> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.registration.control().watch(cx) == Phase::Cut {
            return Poll::Ready(Err(io::Error::new(
                io::ErrorKind::ConnectionAborted,
                "connection closed by us",
            )));
        }
        let before = buf.filled().len();
        let result = ready!(Pin::new(&mut self.io).poll_read(cx, buf));
        let Some(first_read) = self.first_read.take() else {
            return Poll::Ready(result);
        };
        let (told, result) = match result {
            Ok(()) if buf.filled().len() > before => (Ok(()), Ok(())),
            Ok(()) => (Err(io::ErrorKind::UnexpectedEof.into()), Ok(())),
            Err(error) => {
                let kind = error.kind();
                (Err(error), Err(kind.into()))
            }
        };
        // If nobody waits any more, connecting was given up, and this connection with it.
        let _ = first_read.send(told);
        Poll::Ready(result)
    }
}

impl<Io: AsyncWrite + Unpin> AsyncWrite for Governed<Io> {
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
