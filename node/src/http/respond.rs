//! Requests to responses: methods, status codes and headers.

use bytes::Bytes;
use http_body_util::Full;
use hyper::{
    Method, Request, Response, StatusCode,
    header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HeaderValue, RETRY_AFTER, X_CONTENT_TYPE_OPTIONS},
};

use super::{
    path::{Route, parse},
    source::{Health, HttpSource, SourceError},
};

const TEXT: HeaderValue = HeaderValue::from_static("text/plain; charset=utf-8");
const BINARY: HeaderValue = HeaderValue::from_static("application/octet-stream");
const METRICS: HeaderValue = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
/// A tile holds the same bytes for ever.
const FOR_EVER: HeaderValue = HeaderValue::from_static("public, max-age=31536000, immutable");
/// Everything else has to be asked for again.
const NOT_AT_ALL: HeaderValue = HeaderValue::from_static("no-store");
const METHODS: HeaderValue = HeaderValue::from_static("GET, HEAD");
const A_SECOND: HeaderValue = HeaderValue::from_static("1");

/// The body of every response: one piece, in memory.
type Body = Full<Bytes>;

/// Answers one request. A HEAD is answered like a GET; the connection leaves the body out.
pub(super) async fn respond<S: HttpSource, B>(source: &S, request: &Request<B>) -> Response<Body> {
    let Some(route) = parse(request.uri().path()) else {
        return failure(StatusCode::NOT_FOUND, "not found: there is nothing at this path");
    };
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let mut response = failure(StatusCode::METHOD_NOT_ALLOWED, "method not allowed: use GET or HEAD");
        response.headers_mut().insert(ALLOW, METHODS);
        return response;
    }
    match route {
        Route::Live => health(source.live()),
        Route::Ready => health(source.ready()),
        Route::Metrics => response(StatusCode::OK, METRICS, NOT_AT_ALL, source.metrics().into()),
        Route::Checkpoint(ledger) => found(source.checkpoint(&ledger).await, TEXT, NOT_AT_ALL),
        Route::Tile(ledger, level, index, width) => {
            found(source.tile(&ledger, level, index, width).await, BINARY, FOR_EVER)
        }
        Route::Entries(ledger, index, width) => {
            found(source.entries(&ledger, index, width).await, BINARY, FOR_EVER)
        }
    }
}

/// The answer when the source takes too long.
pub(super) fn timed_out() -> Response<Body> {
    unavailable("unavailable: no answer in time; try again or ask another replica")
}

fn health(health: Health) -> Response<Body> {
    match health {
        Health::Good => response(StatusCode::OK, TEXT, NOT_AT_ALL, Bytes::from_static(b"ok\n")),
        Health::Limited(how) => response(StatusCode::OK, TEXT, NOT_AT_ALL, format!("ok, but {how}\n").into()),
        Health::Bad(reason) => unavailable(&reason),
    }
}

fn found(answer: Result<Bytes, SourceError>, kind: HeaderValue, caching: HeaderValue) -> Response<Body> {
    match answer {
        Ok(body) => response(StatusCode::OK, kind, caching, body),
        Err(error @ SourceError::NotFound(_)) => failure(StatusCode::NOT_FOUND, &error.to_string()),
        Err(error @ SourceError::Unavailable(_)) => unavailable(&error.to_string()),
    }
}

fn unavailable(text: &str) -> Response<Body> {
    let mut response = failure(StatusCode::SERVICE_UNAVAILABLE, text);
    response.headers_mut().insert(RETRY_AFTER, A_SECOND);
    response
}

fn failure(status: StatusCode, text: &str) -> Response<Body> {
    response(status, TEXT, NOT_AT_ALL, format!("{text}\n").into())
}

fn response(status: StatusCode, kind: HeaderValue, caching: HeaderValue, body: Bytes) -> Response<Body> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, kind);
    headers.insert(CACHE_CONTROL, caching);
    headers.insert(X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff"));
    response
}
