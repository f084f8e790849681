//! A request that can be sent again, should the other side say that it never looked at it.
//!
//! hyper takes a request apart when it sends it. A server that is leaving (GOAWAY) or full (`REFUSED_STREAM`) guarantees
//! of some requests that it did not process them (RFC 9113 §6.8, §8.7), but hyper has nothing left to give back then. So the
//! channel keeps the head, and what has passed of the body, until the head of the response is there; a little of each, and
//! little in all.

use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use http::{Request, request};
use http_body::{Body, Frame, SizeHint};

use crate::limits::{RESEND_BODY_BYTES_MAX, RESEND_CHANNEL_BYTES_MAX};

/// What one channel keeps of bodies at present, bytes.
#[derive(Clone, Debug, Default)]
pub(crate) struct KeptBytes(Arc<AtomicUsize>);

/// A request on its way, and what it takes to begin again. Once this is gone, nothing more is kept.
pub(crate) struct Resend<B> {
    head: request::Parts,
    source: Arc<Mutex<Source<B>>>,
}

impl<B: Body<Data = Bytes>> Resend<B> {
    pub(crate) fn new(request: Request<B>, room: &KeptBytes) -> Self {
        let (head, body) = request.into_parts();
        let source =
            Source { body: Some(body), kept: Some(Vec::new()), bytes: 0, edition: 0, room: room.clone() };
        Self { head, source: Arc::new(Mutex::new(source)) }
    }

    /// The request, from its beginning; `None` once more of it has passed than is kept. What was given out before
    /// comes to its end.
    pub(crate) fn request(&self) -> Option<Request<ResendBody<B>>> {
        let mut source = lock(&self.source);
        source.kept.as_ref()?;
        source.edition += 1;
        let body = ResendBody { source: Arc::clone(&self.source), edition: source.edition, passed: 0 };
        Some(Request::from_parts(self.head.clone(), body))
    }

    /// The request as it came, where nothing of its body has passed.
    pub(crate) fn unsent(self) -> Option<Request<B>> {
        let mut source = lock(&self.source);
        let untouched = source.kept.as_ref().is_some_and(Vec::is_empty);
        let body = untouched.then(|| source.body.take()).flatten();
        drop(source);
        body.map(|body| Request::from_parts(self.head.clone(), body))
    }
}

impl<B> Drop for Resend<B> {
    fn drop(&mut self) {
        lock(&self.source).forget();
    }
}

/// The body of one attempt: first what has passed in earlier ones, then what follows.
pub(crate) struct ResendBody<B> {
    source: Arc<Mutex<Source<B>>>,
    edition: u32,
    /// Frames of this attempt.
    passed: usize,
}

/// What the attempts share.
struct Source<B> {
    /// What has not passed yet.
    body: Option<B>,
    /// What has passed; `None` once it is too much, or nobody will ask for it.
    kept: Option<Vec<Bytes>>,
    bytes: usize,
    /// The attempt that may read on.
    edition: u32,
    room: KeptBytes,
}

impl<B> Source<B> {
    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        let Some(data) = frame.data_ref() else { return self.forget() };
        self.bytes += data.len();
        let in_all = self.room.0.fetch_add(data.len(), Ordering::Relaxed) + data.len();
        kept.push(data.clone());
        if self.bytes > RESEND_BODY_BYTES_MAX || in_all > RESEND_CHANNEL_BYTES_MAX {
            self.forget();
        }
    }

    fn forget(&mut self) {
        self.kept = None;
        self.room.0.fetch_sub(std::mem::take(&mut self.bytes), Ordering::Relaxed);
    }
}

impl<B: Body<Data = Bytes> + Unpin> Body for ResendBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, B::Error>>> {
        let this = &mut *self;
        let mut source = lock(&this.source);
        if source.edition != this.edition {
            return Poll::Ready(None);
        }
        if let Some(kept) = source.kept.as_ref().and_then(|kept| kept.get(this.passed)) {
            this.passed += 1;
            return Poll::Ready(Some(Ok(Frame::data(kept.clone()))));
        }
        let Some(body) = &mut source.body else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(body).poll_frame(cx));
        match &frame {
            Some(Ok(frame)) => source.keep(frame),
            // The caller's own body failed: that is no fault of the connection.
            Some(Err(_)) => source.forget(),
            None => {}
        }
        this.passed += 1;
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let source = lock(&self.source);
        source.edition != self.edition
            || source.after(self.passed) == 0 && source.body.as_ref().is_none_or(Body::is_end_stream)
    }

    fn size_hint(&self) -> SizeHint {
        let source = lock(&self.source);
        let after = source.after(self.passed);
        let mut hint = source.body.as_ref().map(Body::size_hint).unwrap_or_default();
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(after));
        }
        hint.set_lower(hint.lower().saturating_add(after));
        hint
    }
}

impl<B> Source<B> {
    /// Bytes that are kept behind so many frames.
    fn after(&self, passed: usize) -> u64 {
        let rest = self.kept.as_ref().and_then(|kept| kept.get(passed..)).unwrap_or_default();
        rest.iter().map(|data| data.len() as u64).sum()
    }
}

fn lock<B>(source: &Mutex<Source<B>>) -> MutexGuard<'_, Source<B>> {
    source.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use http_body_util::{BodyExt, StreamBody};
    use proptest::prelude::*;

    use super::*;

    type Frames = std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>;

    /// A body of frames with so many bytes each.
    fn body(sizes: &[usize]) -> StreamBody<futures_util::stream::Iter<Frames>> {
        let frame = |(number, size): (usize, &usize)| {
            let letter = b'a' + u8::try_from(number % 26).unwrap();
            Ok(Frame::data(Bytes::from(vec![letter; *size])))
        };
        StreamBody::new(futures_util::stream::iter(sizes.iter().enumerate().map(frame).collect::<Vec<_>>()))
    }

    fn pass<B: Body<Data = Bytes> + Unpin>(body: &mut B, frames: usize) -> Vec<u8>
    where
        B::Error: std::fmt::Debug,
    {
        let frames =
            std::iter::from_fn(|| futures_util::FutureExt::now_or_never(body.frame()).unwrap()).take(frames);
        frames.flat_map(|frame| frame.unwrap().into_data().unwrap()).collect()
    }

    proptest! {
        /// However far each attempt came, the next one begins at the beginning, and the last one gets all; nothing is
        /// kept afterwards.
        #[test]
        fn each_attempt_passes_the_whole_body(
            sizes in prop::collection::vec(0_usize..2_000, 0..20),
            attempts in prop::collection::vec(0_usize..24, 0..4),
        ) {
            let whole = pass(&mut body(&sizes), usize::MAX);
            let room = KeptBytes::default();
            let resend = Resend::new(Request::new(body(&sizes)), &room);
            let mut stale = Vec::new();
            for frames in attempts {
                let mut attempt = resend.request().unwrap().into_body();
                let passed = pass(&mut attempt, frames);
                prop_assert!(whole.starts_with(&passed));
                stale.push(attempt);
            }
            let mut last = resend.request().unwrap().into_body();
            for mut stale in stale {
                prop_assert!(stale.is_end_stream());
                prop_assert_eq!(pass(&mut stale, usize::MAX), b"", "it takes nothing from the last attempt");
            }
            prop_assert_eq!(pass(&mut last, usize::MAX), whole);
            drop(resend);
            prop_assert_eq!(room.0.load(Ordering::Relaxed), 0);
        }
    }

    #[test]
    fn a_body_that_passes_again_has_its_size_again() {
        let resend = Resend::new(
            Request::new(http_body_util::Full::new(Bytes::from("con so"))),
            &KeptBytes::default(),
        );
        for _ in 0..3 {
            let mut attempt = resend.request().unwrap().into_body();
            assert_eq!((attempt.size_hint().exact(), attempt.is_end_stream()), (Some(6), false));
            assert_eq!(pass(&mut attempt, 1), b"con so");
            assert_eq!((attempt.size_hint().exact(), attempt.is_end_stream()), (Some(0), true));
        }
    }

    #[test]
    fn a_body_that_is_too_large_to_keep_passes_once() {
        let room = KeptBytes::default();
        let kept = Resend::new(Request::new(body(&[RESEND_BODY_BYTES_MAX])), &room);
        let much = Resend::new(Request::new(body(&[RESEND_BODY_BYTES_MAX, 1])), &room);
        for (resend, again) in [(&kept, true), (&much, false)] {
            let mut attempt = resend.request().unwrap().into_body();
            assert!(pass(&mut attempt, usize::MAX).len() >= RESEND_BODY_BYTES_MAX);
            assert_eq!(resend.request().is_some(), again);
        }
        assert_eq!(room.0.load(Ordering::Relaxed), RESEND_BODY_BYTES_MAX);
    }

    #[test]
    fn a_channel_keeps_so_much_and_no_more() {
        let room = KeptBytes::default();
        let many: Vec<_> = (0..=RESEND_CHANNEL_BYTES_MAX / RESEND_BODY_BYTES_MAX)
            .map(|_| {
                let resend = Resend::new(Request::new(body(&[RESEND_BODY_BYTES_MAX])), &room);
                pass(&mut resend.request().unwrap().into_body(), usize::MAX);
                resend
            })
            .collect();
        assert_eq!(room.0.load(Ordering::Relaxed), RESEND_CHANNEL_BYTES_MAX);
        assert!(many.last().unwrap().request().is_none());
        drop(many);
        assert_eq!(room.0.load(Ordering::Relaxed), 0);
    }

    #[test]
    fn a_request_of_which_nothing_has_passed_comes_back_whole() {
        let room = KeptBytes::default();
        let resend = Resend::new(Request::new(body(&[3, 4])), &room);
        let _never_polled = resend.request().unwrap();
        let mut back = resend.unsent().unwrap().into_body();
        assert_eq!(pass(&mut back, usize::MAX), b"aaabbbb");

        let resend = Resend::new(Request::new(body(&[3, 4])), &room);
        pass(&mut resend.request().unwrap().into_body(), 1);
        assert!(resend.unsent().is_none());
    }
}
