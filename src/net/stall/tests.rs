//! Bodies that are read, that are read late, and that are not read.

use super::*;
use futures_util::FutureExt;
use http_body_util::BodyExt;

const STALL: Duration = Duration::from_secs(10);

fn monitored(text: &str) -> (MonitoredBody<()>, Arc<StallDetector>) {
    let detector = Arc::<StallDetector>::default();
    let response = Response::new(Body::from(text.to_owned()));
    let memory = ClientMemory::new(usize::MAX);
    (MonitoredBody::wrap(response, &memory, detector.clone(), ()).into_body(), detector)
}

#[tokio::test]
async fn body_is_produced_in_small_pieces() {
    let text = "0123456789".repeat(5000);
    let (mut body, _) = monitored(&text);
    let mut pieces = Vec::new();
    assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
    while let Some(frame) = body.frame().await {
        pieces.push(frame.unwrap().into_data().unwrap());
        let left = text.len() - pieces.concat().len();
        assert_eq!((body.size_hint().exact(), body.is_end_stream()), (Some(left as u64), false));
    }
    assert!(body.is_end_stream());
    assert_eq!(pieces.concat(), text.as_bytes());
    assert!(pieces.len() == 4 && pieces[..3].iter().all(|piece| piece.len() == PIECE_BYTES));
}

#[tokio::test(start_paused = true)]
async fn body_that_is_not_polled_again_is_a_stall() {
    let (mut body, detector) = monitored(&"x".repeat(2 * PIECE_BYTES));
    let started_at = Instant::now();
    let serving = async {
        body.frame().await;
        sleep(STALL / 2).await;
        body.frame().await;
        body.frame().await; // the end
        sleep(STALL * 5).await;
    };
    assert_eq!(detector.supervise(STALL, serving).await, Some(()), "it was polled in time until its end");
    assert_eq!(started_at.elapsed(), STALL / 2 * 11);

    let (mut body, detector) = monitored(&"x".repeat(3 * PIECE_BYTES));
    let started_at = Instant::now();
    let serving = async {
        body.frame().await;
        sleep(STALL / 2).await;
        body.frame().await;
        std::future::pending::<()>().await;
    };
    let watching = tokio::time::timeout(STALL * 10, detector.supervise(STALL, serving));
    assert_eq!(watching.await, Ok(None));
    assert_eq!(started_at.elapsed(), STALL / 2 * 3);
}

#[tokio::test(start_paused = true)]
async fn body_that_is_never_polled_is_a_stall() {
    for polls in [0, 1] {
        let (mut body, detector) = monitored("x");
        for _ in 0..polls {
            body.frame().await;
        }
        let serving = tokio::time::timeout(STALL * 10, std::future::pending::<()>());
        assert_eq!(detector.supervise(STALL, serving).await, None, "polled {polls} times");
    }
    let (body, detector) = monitored("");
    let serving = tokio::time::timeout(STALL * 10, std::future::pending::<()>());
    assert!(detector.supervise(STALL, serving).await.is_some(), "an empty body has nothing to read");
    drop(body);
}

#[tokio::test(start_paused = true)]
async fn last_piece_has_to_be_read_in_time() {
    let (detector, started_at) = (StallDetector::default(), Instant::now());
    let finishing = async {
        sleep(STALL * 3).await;
        detector.finish();
    };
    let (supervised, ()) = tokio::join!(detector.supervise(STALL, std::future::pending::<()>()), finishing);
    assert_eq!((supervised, started_at.elapsed()), (None, STALL * 4));
}

#[tokio::test(start_paused = true)]
async fn body_without_data_is_not_a_stall() {
    let detector = Arc::<StallDetector>::default();
    let stream = futures_util::stream::pending::<Result<Bytes, std::io::Error>>();
    let (response, memory) = (Response::new(Body::from_stream(stream)), ClientMemory::new(usize::MAX));
    let mut body = MonitoredBody::wrap(response, &memory, detector.clone(), ()).into_body();
    let serving = tokio::time::timeout(STALL * 100, body.frame());
    assert!(detector.supervise(STALL, serving).await.is_some_and(|outcome| outcome.is_err()));
}

#[tokio::test]
async fn unread_response_is_reset_to_free_memory() {
    let memory = ClientMemory::new(10 * PIECE_BYTES);
    let response = || {
        let (detector, text) = (Arc::<StallDetector>::default(), "x".repeat(6 * PIECE_BYTES));
        let response = Response::new(Body::from(text));
        (MonitoredBody::wrap(response, &memory, detector.clone(), ()).into_body(), detector)
    };
    let [(_first, first_detector), (mut second, second_detector)] = [response(), response()];
    // The first one is not even polled.
    second.frame().await;
    let forever = std::future::pending::<()>;
    assert_eq!(first_detector.supervise(STALL, forever()).await, None);
    assert!(second_detector.supervise(STALL, forever()).now_or_never().is_none());
}

#[tokio::test]
async fn reader_of_live_pieces_costs_nothing() {
    let memory = ClientMemory::new(2 * RESPONSE_BYTES);
    let detectors: Vec<_> = std::iter::repeat_with(Arc::<StallDetector>::default).take(5).collect();
    let mut bodies = Vec::new();
    for detector in &detectors {
        let (sender, receiver) = tokio::sync::mpsc::channel(4);
        let next = async |mut receiver: tokio::sync::mpsc::Receiver<_>| Some((receiver.recv().await?, receiver));
        let response = Response::new(Body::from_stream(futures_util::stream::unfold(receiver, next)));
        let mut body = MonitoredBody::wrap(response, &memory, detector.clone(), ()).into_body();
        assert!(body.frame().now_or_never().is_none());
        sender.try_send(Ok::<_, std::io::Error>(Bytes::from_static(b"a tick"))).unwrap();
        body.frame().now_or_never().expect("a piece");
        bodies.push((body, sender));
    }
    assert!(detectors.iter().all(|detector| !detector.is_reset.load(Ordering::Relaxed)));
    // Since the first piece, no poll has returned `Pending`. So it is unknown if the client has read that piece, and
    // the fixed memory of each response counts from the second piece on.
    for (body, sender) in &mut bodies {
        sender.try_send(Ok(Bytes::from_static(b"a tick"))).unwrap();
        body.frame().now_or_never().expect("a piece");
    }
    assert!(detectors.iter().any(|detector| detector.is_reset.load(Ordering::Relaxed)));
}

#[tokio::test]
async fn every_unread_response_counts() {
    let memory = ClientMemory::new(10 * RESPONSE_BYTES);
    let wrap = |response: Response<Body>| {
        let detector = Arc::<StallDetector>::default();
        (MonitoredBody::wrap(response, &memory, detector.clone(), ()), detector)
    };
    let stream = || Response::new(Body::from_stream(futures_util::stream::pending::<Result<Bytes, std::io::Error>>()));
    // Nobody polls these bodies. hyper does not poll a body either until its client has opened a flow-control window.
    let unread: Vec<_> = (0..11).map(|_| wrap(stream())).collect();
    assert_eq!(unread[0].1.supervise(STALL, std::future::pending::<()>()).now_or_never(), Some(None));
    let mut read = wrap(stream()).0.into_body();
    assert!(read.frame().now_or_never().is_none());
    let (reset, counted) =
        unread.iter().partition::<Vec<_>, _>(|(_, detector)| detector.is_reset.load(Ordering::Relaxed));
    assert_eq!((reset.len(), counted.len()), (2, 9), "a client that waits for data costs nothing");
    // This content was compressed in advance. Its known length shows that, so no memory of a compressor is counted.
    let packed = Response::builder().header(CONTENT_ENCODING, "gzip").body(Body::from("x")).unwrap();
    assert_eq!(wrap(packed).0.body().fixed_bytes, RESPONSE_BYTES);
}
