//! What ends a stream whose own reader holds it up.
//!
//! hyper asks the body of an answer for more only while the last of it found room: a peer that stops reading
//! also stops the body, and with it everything that the body would have noticed: its deadline, a withdrawn
//! right. A leash is held by the stream's task instead, beside the body. When it is pulled, the task drops the
//! stream: HTTP/2 resets it (RST_STREAM, CANCEL), what waited to be sent is thrown away, and the body's own
//! `Drop` says what became of it.

use std::cell::Cell;
use std::future::{pending, poll_fn};
use std::pin::{Pin, pin};
use std::task::{Context, Poll};

use hyper::rt::Executor;

tokio::task_local! {
    /// What the stream that is being polled wants to be ended by.
    static WANTED: Cell<Option<Leash>>;
}

pub(crate) type Leash = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Ends the stream that the present task serves as soon as `pulled` is over, whether or not its reader reads.
/// A later leash takes the place of an earlier one. Outside of a stream that this crate serves, it does
/// nothing.
pub fn end_with(pulled: impl Future<Output = ()> + Send + 'static) {
    // No stream is served here: then nothing holds one up either.
    let _ = WANTED.try_with(|wanted| wanted.set(Some(Box::pin(pulled))));
}

/// Lets the present stream off its leash. On a connection that carries one request after the other (HTTP/1.1) the task
/// goes on after the answer that the leash was for.
pub fn let_go() {
    let _ = WANTED.try_with(|wanted| wanted.set(Some(Box::pin(pending()))));
}

/// Polls something that serves streams one after the other, on the leash that the present one has asked for: true once
/// that is pulled.
pub(crate) fn poll_led<T>(
    leash: &mut Option<Leash>,
    cx: &mut Context<'_>,
    poll: impl FnOnce(&mut Context<'_>) -> Poll<T>,
) -> Poll<Option<T>> {
    let (polled, wanted) = WANTED.sync_scope(Cell::new(None), || {
        let polled = poll(cx);
        (polled, WANTED.with(Cell::take))
    });
    if let Poll::Ready(polled) = polled {
        return Poll::Ready(Some(polled));
    }
    if wanted.is_some() {
        *leash = wanted;
    }
    match leash {
        Some(leash) => leash.as_mut().poll(cx).map(|()| None),
        None => Poll::Pending,
    }
}

/// Runs each stream in a task of its own, on its leash.
#[derive(Clone, Copy, Debug)]
pub(crate) struct OnLeash;

impl<F> Executor<F> for OnLeash
where
    F: Future<Output: Send> + Send + 'static,
{
    fn execute(&self, stream: F) {
        // Boxed once: the task is moved on its way to the scheduler.
        tokio::spawn(on_leash(Box::pin(stream)));
    }
}

/// The stream, until it ends or its leash is pulled; an answer that is ready at once never asks the leash.
async fn on_leash(stream: impl Future) {
    let mut stream = pin!(stream);
    let mut leash: Option<Leash> = None;
    poll_fn(|cx| poll_led(&mut leash, cx, |cx| stream.as_mut().poll(cx))).await;
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::sync::oneshot;

    use super::*;

    struct Count(Arc<AtomicUsize>);

    impl Drop for Count {
        fn drop(&mut self) {
            self.0.fetch_add(1, Ordering::Relaxed);
        }
    }

    #[tokio::test]
    async fn a_stream_that_hangs_ends_with_its_leash_and_the_last_leash_counts() {
        let dropped = Arc::new(AtomicUsize::new(0));
        let count = Count(Arc::clone(&dropped));
        let (pull, pulled) = oneshot::channel::<()>();
        let (first, second) = (oneshot::channel::<()>(), oneshot::channel::<()>());
        let stream = async move {
            let _held = count;
            end_with(async { drop(first.1.await) });
            drop(second.1.await);
            end_with(async { drop(pulled.await) });
            pending::<()>().await;
        };
        let task = tokio::spawn(on_leash(stream));
        tokio::task::yield_now().await;
        second.0.send(()).unwrap();
        tokio::task::yield_now().await;
        drop(first.0);
        tokio::task::yield_now().await;
        assert_eq!(dropped.load(Ordering::Relaxed), 0, "the first leash was replaced");
        pull.send(()).unwrap();
        task.await.unwrap();
        assert_eq!(dropped.load(Ordering::Relaxed), 1);
    }

    #[tokio::test]
    async fn a_stream_that_was_let_go_is_not_ended() {
        let (done, finished) = oneshot::channel::<()>();
        let stream = async move {
            end_with(async {});
            let_go();
            tokio::task::yield_now().await;
            done.send(()).unwrap();
        };
        on_leash(stream).await;
        finished.await.unwrap();
    }

    #[tokio::test]
    async fn a_stream_that_ends_by_itself_is_not_kept_by_its_leash() {
        on_leash(async { end_with(pending()) }).await;
        end_with(async {});
    }
}
