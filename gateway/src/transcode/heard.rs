//! A request that is heard out. A call may be answered before all of its request has come; were the rest not taken in, the
//! stream or the connection would be reset, and some callers then lose the answer over it.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::Duration,
};

use bytes::{Buf, Bytes};
use http_body::{Body, Frame, SizeHint};
use http_body_util::BodyExt;
use tokio::runtime::Handle;

use super::limits::{HEARD_OUT_BYTES_MAX, HEARD_OUT_MS};

/// The body of a request. Dropped before its end, what still comes is read and thrown away, for a moment.
pub struct Heard<B: Body<Data = Bytes> + Send + Unpin + 'static>(Option<B>);

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Heard<B> {
    /// Hears this body.
    pub fn new(body: B) -> Self {
        Self(Some(body))
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Drop for Heard<B> {
    fn drop(&mut self) {
        let Some(body) = self.0.take().filter(|body| !body.is_end_stream()) else { return };
        if let Ok(runtime) = Handle::try_current() {
            runtime.spawn(tokio::time::timeout(Duration::from_millis(HEARD_OUT_MS), hear_out(body)));
        }
    }
}

async fn hear_out(mut body: impl Body<Data = Bytes> + Unpin) {
    let mut heard = 0;
    while let Some(Ok(frame)) = body.frame().await {
        heard += frame.data_ref().map_or(0, Buf::remaining);
        if heard > HEARD_OUT_BYTES_MAX {
            return;
        }
    }
}

impl<B: Body<Data = Bytes> + Send + Unpin + 'static> Body for Heard<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let Some(body) = &mut self.0 else { return Poll::Ready(None) };
        let frame = Pin::new(body).poll_frame(context);
        if let Poll::Ready(None | Some(Err(_))) = &frame {
            self.0 = None;
        }
        frame
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        self.0.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint)
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::mpsc;

    use super::*;

    #[tokio::test]
    async fn what_nobody_reads_is_taken_in_up_to_a_bound() {
        let (send, mut receive) = mpsc::channel::<Bytes>(1);
        let frames = futures_util::stream::poll_fn(move |context| {
            receive
                .poll_recv(context)
                .map(|chunk| chunk.map(|chunk| Ok::<_, std::io::Error>(Frame::data(chunk))))
        });
        drop(Heard::new(http_body_util::StreamBody::new(frames)));
        let mut taken = 0;
        while send.send(Bytes::from(vec![0; 64 * 1024])).await.is_ok() {
            taken += 64 * 1024;
        }
        assert!((HEARD_OUT_BYTES_MAX..HEARD_OUT_BYTES_MAX + 256 * 1024).contains(&taken), "{taken}");
    }
}
